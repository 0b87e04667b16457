// The documents that S3 answers with, and the one we send.
//
// Errors: corrupt, for a document that is not the one expected or lacks what is needed. Marks (continuation tokens,
// upload ids) are opaque and returned as they came.
// Source: ListObjectsV2, CreateMultipartUpload, ListParts, CompleteMultipartUpload in the Amazon S3 API reference.
#pragma once

#include <string>
#include <vector>

#include "ports/object_store.h"
#include "ports/upload_journal.h"

namespace tillsync::s3 {

struct ListAnswer {
  std::vector<ObjectInfo> objects;
  bool is_truncated = false;
  std::string next_token;
};
Result<ListAnswer> parse_list(std::string_view document);

Result<std::string> parse_upload_id(std::string_view document);

struct PartsAnswer {
  std::vector<UploadPart> parts;  // without SHA-256
  bool is_truncated = false;
  uint32_t next_marker = 0;
};
struct UnfinishedUpload {
  std::string path;  // the key with the store's prefix
  std::string id;
};
// The first page of ListMultipartUploads: of one key there are few.
Result<std::vector<UnfinishedUpload>> parse_uploads(std::string_view document);
Result<PartsAnswer> parse_parts(std::string_view document);

// Is it a CompleteMultipartUploadResult? Its ETag may be empty.
Result<void> check_completed(std::string_view document);

std::string complete_document(const std::vector<UploadPart>& parts);

// "Thu, 26 Nov 2026 04:44:52 GMT". nullopt: not a date.
std::optional<Timestamp> parse_http_date(std::string_view text);

}  // namespace tillsync::s3
