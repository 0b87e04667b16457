// The XML of S3's answers: elements and text.
//
// Why our own: an answer is a flat list of elements, and what a library adds (document types, entities, external files)
// is what hostile documents live on. What is not understood is an error, never a guess.
// Layout: UTF-8; a declaration, comments, elements with attributes (checked for form, then dropped; a namespace prefix
// is dropped as well), text with the five named entities and &#…; CDATA. No DOCTYPE, no processing instructions.
// Bounds: kXmlBytesMax, kXmlDepthMax, kXmlElementsMax.
// Errors: corrupt, with the byte where it stops being XML.
// Source: XML 1.0 (fifth edition); the Amazon S3 API reference for what occurs.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tillsync::s3 {

inline constexpr size_t kXmlBytesMax = 4 << 20;
inline constexpr size_t kXmlDepthMax = 16;
inline constexpr size_t kXmlElementsMax = 100'000;

struct XmlElement {
  std::string name;  // without its namespace prefix
  std::string text;  // of the element itself; empty where there are only children and white space
  std::vector<XmlElement> children;

  const XmlElement* find(std::string_view child) const;    // the first of that name
  std::string_view text_of(std::string_view child) const;  // "" if there is none
};

Result<XmlElement> parse_xml(std::string_view document);

// Text as it may stand in an element: & < > and control characters are escaped.
std::string xml_escaped(std::string_view text);

}  // namespace tillsync::s3
