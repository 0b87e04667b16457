// The contract over a real bucket.
#include <doctest/doctest.h>

#include "s3/s3_server.h"

using tillsync::test::S3Bucket;
TYPE_TO_STRING(S3Bucket);
#define STORES S3Bucket

#include "contract/object_store_contract.h"
