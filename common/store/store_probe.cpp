#include "store/store_probe.h"

#include <algorithm>
#include <array>

namespace tillsync {

Result<StoreProbe> probe_store(ObjectStore& store, const std::string& prefix, Random& random) {
  std::array<uint8_t, 8> token;
  random.fill(token);
  const std::string key = prefix + "doctor-" + to_hex(token);
  const std::string text = "tillsync doctor " + to_hex(token), other(text.size(), 'x');
  TILLSYNC_TRY(store.list(prefix, "", 1).with("list"));
  BytesSource first(as_bytes(text)), second(as_bytes(other));
  TILLSYNC_TRY(store.put(key, first).with("put"));

  StoreProbe probe;
  auto checked = [&]() -> Result<void> {
    auto differs = [&](const char* how) { return Error{ErrorKind::corrupt, 0, key + ": " + how}; };
    const auto again = store.put(key, second);
    if (!again && again.error().kind != ErrorKind::conflict) return again.error();
    TILLSYNC_LET(const Bytes whole, read_object(store, key, 4096));
    const bool is_first = equal(whole, as_bytes(text));
    if (!is_first && !equal(whole, as_bytes(other))) return differs("it is not what was put");
    probe.create_only = !again && is_first;
    Bytes part(6);
    TILLSYNC_LET(const size_t got, store.read(key, 3, part));
    if (got != part.size() || !equal(part, ByteView(whole).subspan(3, part.size())))
      return differs("a range of it is not what was put there");
    TILLSYNC_LET(const auto page, store.list(prefix, "", 1000));
    const auto listed =
        std::find_if(page.objects.begin(), page.objects.end(), [&](auto& object) { return object.key == key; });
    if (!page.more && (listed == page.objects.end() || listed->size != text.size()))
      return differs("it is not listed as it was put");
    return {};
  }();
  const auto removed = store.remove(key);
  probe.may_delete = removed.has_value();
  if (removed) {
    const auto there = store.head(key);
    if (there) probe.may_delete = false;
  }
  if (!probe.may_delete) probe.left = key;
  TILLSYNC_TRY(checked);
  const auto properties = store.properties();
  probe.name = properties.name;
  probe.resumable = properties.resumable;
  probe.part_size_bytes = properties.part_size_bytes;
  return probe;
}

}  // namespace tillsync
