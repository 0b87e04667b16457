#include "store/s3/xml.h"

#include <algorithm>

namespace tillsync::s3 {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool is_name_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || c == '_' ||
         c == '-' || c == '.' || c == ':' || byte >= 0x80;
}

// XML 1.0 §2.2: no control characters but white space, no surrogates.
bool is_character(uint32_t code) {
  if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
  return code < 0xd800 || (code > 0xdfff && code < 0xfffe) || (code >= 0x10000 && code <= 0x10ffff);
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view in) : in_(in) {}

  Result<XmlElement> document() {
    if (in_.size() > kXmlBytesMax) return error("a document of this size");
    if (in_.starts_with("\xef\xbb\xbf")) at_ = 3;
    if (is_next("<?xml")) {
      const size_t end = in_.find("?>", at_);
      if (end == in_.npos) return error("an XML declaration without an end");
      at_ = end + 2;
    }
    TILLSYNC_TRY(skip_between());
    XmlElement root;
    TILLSYNC_TRY(element(root, 1));
    TILLSYNC_TRY(skip_between());
    if (at_ != in_.size()) return error("something after the root element");
    return root;
  }

 private:
  Error error(std::string_view what) const {
    return Error{ErrorKind::corrupt, 0, "XML, byte " + std::to_string(at_) + ": " + std::string(what)};
  }
  bool is_next(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!is_next(text)) return false;
    at_ += text.size();
    return true;
  }
  void skip_space() {
    while (at_ < in_.size() && is_space(in_[at_])) at_++;
  }

  Result<void> comment() {  // behind "<!--"
    const size_t end = in_.find("--", at_);
    if (end == in_.npos || end + 2 >= in_.size() || in_[end + 2] != '>') return error("a comment without an end");
    at_ = end + 3;
    return {};
  }

  Result<void> skip_between() {
    while (true) {
      skip_space();
      if (!take("<!--")) return {};
      TILLSYNC_TRY(comment());
    }
  }

  Result<std::string_view> name() {
    const size_t start = at_;
    while (at_ < in_.size() && is_name_byte(in_[at_])) at_++;
    const std::string_view whole = in_.substr(start, at_ - start);
    if (whole.empty() || whole[0] == '-' || whole[0] == '.' || (whole[0] >= '0' && whole[0] <= '9'))
      return error("no name");
    const size_t colon = whole.find(':');
    if (colon == whole.npos) return whole;
    const std::string_view local = whole.substr(colon + 1);
    if (colon == 0 || local.empty() || local.find(':') != local.npos) return error("no name");
    return local;
  }

  Result<void> attributes() {
    while (true) {
      const size_t before = at_;
      skip_space();
      if (at_ >= in_.size() || in_[at_] == '>' || in_[at_] == '/') return {};
      if (at_ == before) return error("no space before an attribute");
      TILLSYNC_TRY(name());
      skip_space();
      if (!take("=")) return error("an attribute without a value");
      skip_space();
      if (at_ >= in_.size() || (in_[at_] != '"' && in_[at_] != '\'')) return error("a value without quotes");
      const size_t end = in_.find(in_[at_], at_ + 1);
      if (end == in_.npos || in_.substr(at_, end - at_).find('<') != in_.npos) return error("a value without an end");
      at_ = end + 1;
    }
  }

  Result<void> reference(std::string& out) {  // behind '&'
    const size_t end = in_.substr(0, std::min(in_.size(), at_ + 12)).find(';', at_);
    if (end == in_.npos) return error("an entity without an end");
    const std::string_view what = in_.substr(at_, end - at_);
    if (what.starts_with('#')) {
      const bool is_hex = what.starts_with("#x");
      uint32_t code = 0;
      const std::string_view digits = what.substr(is_hex ? 2 : 1);
      for (const char c : digits) {
        uint32_t digit = 16;
        if (c >= '0' && c <= '9') digit = static_cast<uint32_t>(c - '0');
        if (is_hex && c >= 'a' && c <= 'f') digit = static_cast<uint32_t>(c - 'a') + 10;
        if (is_hex && c >= 'A' && c <= 'F') digit = static_cast<uint32_t>(c - 'A') + 10;
        if (digit >= (is_hex ? 16u : 10u) || code > 0x10ffff) return error("no character");
        code = code * (is_hex ? 16 : 10) + digit;
      }
      if (digits.empty() || !is_character(code)) return error("no character");
      append_utf8(out, code);
    } else {
      static constexpr std::pair<std::string_view, char> kNamed[] = {
          {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
      const auto* named = std::find_if(std::begin(kNamed), std::end(kNamed), [&](auto& n) { return n.first == what; });
      if (named == std::end(kNamed)) return error("an unknown entity");
      out += named->second;
    }
    at_ = end + 1;
    return {};
  }

  Result<void> element(XmlElement& out, size_t depth) {
    if (!take("<")) return error("no element");
    if (depth > kXmlDepthMax || ++elements_ > kXmlElementsMax) return error("more elements than any answer has");
    TILLSYNC_LET(out.name, name());
    TILLSYNC_TRY(attributes());
    if (take("/>")) return {};
    if (!take(">")) return error("a tag without an end");
    while (true) {
      if (at_ >= in_.size()) return error("an element without an end");
      const char c = in_[at_];
      if (take("</")) {
        TILLSYNC_LET(const std::string_view closed, name());
        if (closed != out.name) return error("another element ends here");
        skip_space();
        if (!take(">")) return error("a tag without an end");
        break;
      }
      if (take("<!--")) {
        TILLSYNC_TRY(comment());
      } else if (take("<![CDATA[")) {
        const size_t end = in_.find("]]>", at_);
        if (end == in_.npos) return error("CDATA without an end");
        const std::string_view whole = in_.substr(at_, end - at_);
        if (!std::all_of(whole.begin(), whole.end(), [](unsigned char byte) { return is_character(byte); }))
          return error("a control character");
        out.text += whole;
        at_ = end + 3;
      } else if (c == '<') {
        TILLSYNC_TRY(element(out.children.emplace_back(), depth + 1));
      } else if (take("&")) {
        TILLSYNC_TRY(reference(out.text));
      } else {
        if (!is_character(static_cast<unsigned char>(c))) return error("a control character");
        out.text += c;
        at_++;
      }
    }
    if (!out.children.empty() && std::all_of(out.text.begin(), out.text.end(), is_space)) out.text.clear();
    return {};
  }

  std::string_view in_;
  size_t at_ = 0, elements_ = 0;
};

}  // namespace

const XmlElement* XmlElement::find(std::string_view child) const {
  for (const auto& c : children)
    if (c.name == child) return &c;
  return nullptr;
}

std::string_view XmlElement::text_of(std::string_view child) const {
  const XmlElement* c = find(child);
  return c ? std::string_view(c->text) : std::string_view();
}

Result<XmlElement> parse_xml(std::string_view document) { return Parser(document).document(); }

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += "&#" + std::to_string(static_cast<int>(c)) + ";";
    else
      out += c;
  }
  return out;
}

}  // namespace tillsync::s3
