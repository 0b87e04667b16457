// A bounded cache of pages, replaced by the clock algorithm.
//
// Threads: one.
#pragma once

#include <unordered_map>
#include <vector>

#include "dbfile/page.h"

namespace tillsync {

class PageCache {
 public:
  explicit PageCache(size_t bytes_max) : bytes_max_(bytes_max) {}

  PageRef get(PageNo page) {
    auto found = slots_.find(page);
    if (found == slots_.end()) return {};
    ring_[found->second].used = true;
    return ring_[found->second].content;
  }

  void put(PageNo page, PageRef content) {
    auto found = slots_.find(page);
    if (found != slots_.end()) {
      ring_[found->second].content = std::move(content);
      ring_[found->second].used = true;
      return;
    }
    size_t slots_max = std::max<size_t>(16, bytes_max_ / content.size());
    if (ring_.size() < slots_max) {
      slots_[page] = ring_.size();
      ring_.push_back({page, true, std::move(content)});
      return;
    }
    while (ring_[hand_].used) {
      ring_[hand_].used = false;
      hand_ = (hand_ + 1) % ring_.size();
    }
    slots_.erase(ring_[hand_].page);
    slots_[page] = hand_;
    ring_[hand_] = {page, true, std::move(content)};
    hand_ = (hand_ + 1) % ring_.size();
  }

  void erase(PageNo page) {
    auto found = slots_.find(page);
    if (found == slots_.end()) return;
    // The slot stays, unused: the clock takes it next.
    ring_[found->second].content = {};
    ring_[found->second].page = 0;
    ring_[found->second].used = false;
    slots_.erase(found);
  }

  void clear() {
    slots_.clear();
    ring_.clear();
    hand_ = 0;
  }

 private:
  struct Slot {
    PageNo page;
    bool used;
    PageRef content;
  };
  size_t bytes_max_;
  std::unordered_map<PageNo, size_t> slots_;
  std::vector<Slot> ring_;
  size_t hand_ = 0;
};

}  // namespace tillsync
