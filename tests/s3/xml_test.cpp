#include <doctest/doctest.h>

#include "store/s3/s3_answers.h"
#include "store/s3/xml.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::s3;
using namespace tillsync::test;

TEST_SUITE_BEGIN("s3");

TEST_CASE("xml: elements, text, entities, CDATA and comments are read, prefixes and attributes are dropped") {
  const auto root = must(parse_xml(
      "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a comment -->\n"
      "<s3:Error xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\" a = 'b>c'>\n  "
      "<Code>No&amp;Such&#x4B;ey&#33;</Code>"
      "<Empty/><Also ></Also ><Text><![CDATA[<&>]]> \xc3\xa9</Text><!--x--><Code>second</Code></s3:Error>\n"));
  CHECK(root.name == "Error");
  CHECK(root.text.empty());
  CHECK(root.text_of("Code") == "No&SuchKey!");
  CHECK(root.text_of("Text") == "<&> \xc3\xa9");
  CHECK(root.find("Empty") != nullptr);
  CHECK(root.text_of("None").empty());
  CHECK(root.children.size() == 5);
}

TEST_CASE("xml: what is not the XML of an answer is refused, with its place") {
  for (const char* document : {"",
                               " ",
                               "text",
                               "<a>",
                               "<a></b>",
                               "<a></a><b></b>",
                               "<a></a>x",
                               "<a b></a>",
                               "<a b=c></a>",
                               "<a b=\"c></a>",
                               "<a b=\"<\"></a>",
                               "<a b=\"c\"d=\"e\"></a>",
                               "<a>&nbsp;</a>",
                               "<a>&amp</a>",
                               "<a>&#0;</a>",
                               "<a>&#xD800;</a>",
                               "<a>&#x110000;</a>",
                               "<a>&#99999999999;</a>",
                               "<a>&#;</a>",
                               "<a>\x01</a>",
                               "<1a></1a>",
                               "<:a></:a>",
                               "<a:></a:>",
                               "<a:b:c></a:b:c>",
                               "< a></ a>",
                               "<a><![CDATA[</a>",
                               "<a><!-- -- --></a>",
                               "<a><?pi?></a>",
                               "<!DOCTYPE a><a></a>",
                               "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                               "<?xml",
                               "<a></a",
                               "<a/",
                               "<a",
                               "<"}) {
    CAPTURE(document);
    const auto error = refused(parse_xml(document));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, "byte "));
  }
  std::string deep;
  for (size_t i = 0; i <= kXmlDepthMax; i++) deep += "<a>";
  CHECK(kind_of(parse_xml(deep)) == ErrorKind::corrupt);
  std::string many = "<a>";
  for (size_t i = 0; i <= kXmlElementsMax; i++) many += "<b/>";
  CHECK(kind_of(parse_xml(many + "</a>")) == ErrorKind::corrupt);
  CHECK(kind_of(parse_xml("<a>" + std::string(kXmlBytesMax, ' ') + "</a>")) == ErrorKind::corrupt);
}

TEST_CASE("s3 answers: a listing is read with its keys decoded, and nothing is guessed") {
  const auto page =
      must(parse_list("<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
                      "<NextContinuationToken>a+b/c=</NextContinuationToken><Contents><Key>a%2Fb+c</Key><Size>12</Size>"
                      "<LastModified>2026-11-26T04:44:52.999Z</LastModified></Contents></ListBucketResult>"));
  CHECK(page.is_truncated);
  CHECK(page.next_token == "a+b/c=");
  REQUIRE(page.objects.size() == 1);
  CHECK(page.objects[0].key == "a/b c");
  CHECK(page.objects[0].size == 12);
  CHECK(page.objects[0].modified_at == parse_http_date("Thu, 26 Nov 2026 04:44:52 GMT"));
  for (const char* document :
       {"<Other/>", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%4</Key><Size>1</Size></Contents>"
        "</ListBucketResult>"}) {
    CAPTURE(document);
    CHECK(kind_of(parse_list(document)) == ErrorKind::corrupt);
  }
  CHECK(kind_of(parse_upload_id("<InitiateMultipartUploadResult/>")) == ErrorKind::corrupt);
  CHECK(kind_of(parse_parts("<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>")) ==
        ErrorKind::corrupt);
  const auto uploads = must(parse_uploads(
      "<ListMultipartUploadsResult><Prefix>p</Prefix><Upload><Key>p/a&amp;b</Key><UploadId>7~x</UploadId></Upload>"
      "<Upload><Key>p/c</Key><UploadId>8</UploadId></Upload></ListMultipartUploadsResult>"));
  REQUIRE(uploads.size() == 2);
  CHECK(uploads[0].path == "p/a&b");
  CHECK(uploads[0].id == "7~x");
  CHECK(must(parse_uploads("<ListMultipartUploadsResult/>")).empty());
  for (const std::string upload : {"<Key>a</Key>", "<UploadId>1</UploadId>"})
    CHECK(kind_of(parse_uploads("<ListMultipartUploadsResult><Upload>" + upload +
                                "</Upload></ListMultipartUploadsResult>")) == ErrorKind::corrupt);
  CHECK(kind_of(parse_uploads("<Other/>")) == ErrorKind::corrupt);
  CHECK(kind_of(check_completed("<Error><Code>InternalError</Code></Error>")) == ErrorKind::corrupt);
  must(check_completed("<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"));
}

TEST_SUITE_END();
