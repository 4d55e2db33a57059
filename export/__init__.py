"""Export: a run or an imported model becomes a published version, whose variants answer as the original does."""
