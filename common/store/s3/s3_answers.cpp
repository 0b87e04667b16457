#include "store/s3/s3_answers.h"

#include "store/s3/libcurl.h"

#include <algorithm>
#include <charconv>

#include "store/s3/xml.h"

namespace tillsync::s3 {

namespace {

constexpr size_t kUploadIdMax = 2000;

Error unexpected(std::string_view what) {
  return Error{ErrorKind::corrupt, 0, "the store's answer " + std::string(what)};
}

Result<XmlElement> parse_as(std::string_view document, std::string_view name) {
  auto root = parse_xml(document);
  if (!root) return std::move(root).error().with("the store's answer");
  if (root->name != name) return unexpected("is not a " + std::string(name));
  return root;
}

template <class T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// As encoding-type=url writes it: %XX, and '+' for a blank.
bool url_decode(std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      Bytes byte;
      if (i + 3 > text.size() || !from_hex(std::string_view(text).substr(i + 1, 2), byte)) return false;
      out += static_cast<char>(byte[0]);
      i += 2;
    }
  }
  text = std::move(out);
  return true;
}

// To the second, as a HEAD of the same object tells it.
std::optional<Timestamp> listed_time(std::string_view text) {
  const auto time = parse_rfc3339(text);
  if (!time) return std::nullopt;
  return std::chrono::floor<std::chrono::seconds>(*time);
}

}  // namespace

Result<ListAnswer> parse_list(std::string_view document) {
  TILLSYNC_LET(const XmlElement root, parse_as(document, "ListBucketResult"));
  ListAnswer out;
  const bool is_encoded = root.text_of("EncodingType") == "url";
  out.is_truncated = root.text_of("IsTruncated") == "true";
  out.next_token = root.text_of("NextContinuationToken");
  for (const auto& element : root.children) {
    if (element.name != "Contents") continue;
    ObjectInfo object;
    object.key = element.text_of("Key");
    if (is_encoded && !url_decode(object.key)) return unexpected("has a key that is not encoded as it says");
    if (!parse_number(element.text_of("Size"), object.size)) return unexpected("has an object without a size");
    object.modified_at = listed_time(element.text_of("LastModified"));
    out.objects.push_back(std::move(object));
  }
  return out;
}

Result<std::string> parse_upload_id(std::string_view document) {
  TILLSYNC_LET(const XmlElement root, parse_as(document, "InitiateMultipartUploadResult"));
  std::string id(root.text_of("UploadId"));
  if (id.empty() || id.size() > kUploadIdMax) return unexpected("has no upload id");
  return id;
}

Result<PartsAnswer> parse_parts(std::string_view document) {
  TILLSYNC_LET(const XmlElement root, parse_as(document, "ListPartsResult"));
  PartsAnswer out;
  out.is_truncated = root.text_of("IsTruncated") == "true";
  if (out.is_truncated && !parse_number(root.text_of("NextPartNumberMarker"), out.next_marker))
    return unexpected("has no place to go on at");
  for (const auto& element : root.children) {
    if (element.name != "Part") continue;
    UploadPart part;
    part.etag = element.text_of("ETag");
    if (!parse_number(element.text_of("PartNumber"), part.number) || !parse_number(element.text_of("Size"), part.size))
      return unexpected("has a part without number or size");
    out.parts.push_back(std::move(part));
  }
  return out;
}

Result<std::vector<UnfinishedUpload>> parse_uploads(std::string_view document) {
  TILLSYNC_LET(const XmlElement root, parse_as(document, "ListMultipartUploadsResult"));
  std::vector<UnfinishedUpload> out;
  for (const auto& element : root.children) {
    if (element.name != "Upload") continue;
    UnfinishedUpload upload{std::string(element.text_of("Key")), std::string(element.text_of("UploadId"))};
    if (upload.path.empty() || upload.id.empty() || upload.id.size() > kUploadIdMax)
      return unexpected("has an upload without key or id");
    out.push_back(std::move(upload));
  }
  return out;
}

Result<void> check_completed(std::string_view document) {
  TILLSYNC_TRY(parse_as(document, "CompleteMultipartUploadResult"));
  return {};
}

std::string complete_document(const std::vector<UploadPart>& parts) {
  std::string out = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (const auto& part : parts)
    out += "<Part><PartNumber>" + std::to_string(part.number) + "</PartNumber><ETag>" + xml_escaped(part.etag) +
           "</ETag></Part>";
  return out + "</CompleteMultipartUpload>";
}

std::optional<Timestamp> parse_http_date(std::string_view text) {
  const time_t seconds = libcurl().getdate(std::string(text).c_str(), nullptr);
  if (seconds < 0) return std::nullopt;
  return Timestamp(std::chrono::seconds(seconds));
}

}  // namespace tillsync::s3
