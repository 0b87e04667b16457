// What an S3 server answers. First byte: its status is 200, or 500.
#include "fuzz/fuzz.h"
#include "store/s3/s3_answers.h"
#include "store/s3/s3_error.h"
#include "store/s3/xml.h"

using namespace tillsync;
using namespace tillsync::fuzz;
using namespace tillsync::s3;

namespace {

struct Counted {
  size_t elements = 0, depth = 0, bytes = 0;
};

void count(const XmlElement& element, size_t depth, Counted& out) {
  out.elements++;
  out.depth = std::max(out.depth, depth);
  out.bytes += element.name.size() + element.text.size();
  FUZZ_HOLDS(!element.name.empty());
  for (const auto& child : element.children) count(child, depth + 1, out);
}

// ETags come from the server and go back to it.
void must_be_written_again(const std::vector<UploadPart>& parts) {
  const auto root = parse_xml(complete_document(parts));
  FUZZ_HOLDS(root && root->children.size() == parts.size());
  for (size_t i = 0; i < parts.size(); i++) FUZZ_HOLDS(root->children[i].text_of("ETag") == parts[i].etag);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const Exact exact(ByteView(data + 1, size - 1));
  const std::string_view text = as_text(exact.view());
  if (const auto root = parse_xml(text)) {
    Counted counted;
    count(*root, 1, counted);
    FUZZ_HOLDS(counted.depth <= kXmlDepthMax && counted.elements <= kXmlElementsMax);
    // Entities only ever become shorter.
    FUZZ_HOLDS(counted.bytes <= text.size());
    // What was read can be written and read again.
    const auto again = parse_xml("<a>" + xml_escaped(root->text) + "</a>");
    FUZZ_HOLDS(again && again->text == root->text);
  }
  if (const auto page = parse_list(text)) FUZZ_HOLDS(page->objects.size() <= text.size());
  if (const auto id = parse_upload_id(text)) FUZZ_HOLDS(!id->empty() && id->size() <= 2000);
  if (const auto parts = parse_parts(text)) must_be_written_again(parts->parts);
  if (const auto uploads = parse_uploads(text)) FUZZ_HOLDS(uploads->size() <= text.size());
  (void)check_completed(text);
  HttpResponse response;
  response.status = data[0] & 1 ? 200 : 500;
  response.body = to_bytes(exact.view());
  const auto failure = failure_of(response);
  FUZZ_HOLDS(response.status == 200 || failure);
  if (failure) {
    const Error error = to_error(*failure, "s3://b", "put k");
    FUZZ_HOLDS(error.context.size() < 2000);
    for (const char c : error.context) FUZZ_HOLDS(static_cast<unsigned char>(c) >= 0x20);
  }
  return 0;
}
