"""`ModelStatistics` on the wire: the server's counts in Triton's terms."""

from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.oip.model_info import ModelInfo
from digits.serve.statistics import Totals


def model_statistics(model: ModelInfo, totals: Totals) -> pb.ModelStatistics:
    """A call's time is that in the queue and that of its whole batch. What comes before and after has no time here."""
    none = pb.StatisticDuration(count=totals.calls)
    return pb.ModelStatistics(
        name=model.name,
        version=model.version,
        last_inference=totals.last_ms,
        inference_count=totals.images,
        execution_count=totals.batches,
        inference_stats=pb.InferStatistics(
            success=pb.StatisticDuration(count=totals.calls, ns=totals.queue_ns + totals.compute_ns),
            fail=pb.StatisticDuration(count=sum(totals.failures.values()), ns=totals.failure_ns),
            queue=pb.StatisticDuration(count=totals.calls, ns=totals.queue_ns),
            compute_input=none,
            compute_infer=pb.StatisticDuration(count=totals.calls, ns=totals.compute_ns),
            compute_output=none,
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=size,
                compute_input=pb.StatisticDuration(count=count),
                compute_infer=pb.StatisticDuration(count=count, ns=ns),
                compute_output=pb.StatisticDuration(count=count),
            )
            for size, (count, ns) in totals.batch_sizes.items()
        ],
    )
