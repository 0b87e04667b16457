// What a segment's body begins with: its head, as far as it can be said without the content.
//
// Layout: docs/formats.md, "Segment". Errors: corrupt. Threads: values.
#pragma once

#include "actionlog/segment.h"

namespace tillsync {

Error damaged_segment(const char* why);

struct ReadSegmentHead {
  SegmentHead head;
  uint64_t raw = 0, apart = 0;  // sizes of the content, and of what lies apart at its end
  ByteView rest;                // a dictionary's section, if one is carried, and the content
};

Bytes encode_segment_head(const SegmentHead& head, const SegmentContent& content);
Result<ReadSegmentHead> read_segment_head(ByteView body);

}  // namespace tillsync
