// A journal of uploads in one JSON file, replaced whole at each call: for programs that are killed.
#pragma once

#include "base/json.h"
#include "ports/files.h"
#include "ports/random.h"
#include "ports/upload_journal.h"

namespace tillsync::test {

class FileUploadJournal : public UploadJournal {
 public:
  FileUploadJournal(FileSystem& files, Random& random, std::string path)
      : files_(files), random_(random), path_(std::move(path)) {
    const auto bytes = read_file(files_, path_);
    if (!bytes) return;
    const Json all = Json::parse(as_text(*bytes));  // named: a range-for does not keep what items() refers to
    for (const auto& [key, saved] : all.items()) {
      Upload upload{key,
                    saved["id"],
                    saved["token"],
                    saved["object_size"],
                    saved["part_size"],
                    from_ms(saved["began_at"].get<int64_t>())};
      for (const auto& part : saved["parts"])
        upload.parts.push_back(
            {part["number"], part["size"], Digest::parse(part["sha256"].get<std::string>()).value(), part["etag"]});
      (void)memory_.begin(upload);
    }
  }

  Result<std::optional<Upload>> load(const std::string& key) override { return memory_.load(key); }
  Result<std::vector<Upload>> list(const std::string& prefix) override { return memory_.list(prefix); }
  Result<void> begin(const Upload& upload) override {
    TILLSYNC_TRY(memory_.begin(upload));
    return save();
  }
  Result<void> part_done(const std::string& key, const std::string& id, const UploadPart& part) override {
    TILLSYNC_TRY(memory_.part_done(key, id, part));
    return save();
  }
  Result<void> forget(const std::string& key) override {
    TILLSYNC_TRY(memory_.forget(key));
    return save();
  }

 private:
  Result<void> save() {
    TILLSYNC_LET(const auto uploads, memory_.list(""));
    Json all = Json::object();
    for (const auto& upload : uploads) {
      Json parts = Json::array();
      for (const auto& part : upload.parts)
        parts.push_back(
            {{"number", part.number}, {"size", part.size}, {"sha256", part.sha256.hex()}, {"etag", part.etag}});
      all[upload.key] = {{"id", upload.id},
                         {"token", upload.token},
                         {"object_size", upload.object_size},
                         {"part_size", upload.part_size},
                         {"began_at", to_ms(upload.began_at)},
                         {"parts", parts}};
    }
    uint32_t unique = 0;
    random_.fill({reinterpret_cast<uint8_t*>(&unique), sizeof unique});
    TILLSYNC_LET(auto pending, PendingFile::create(files_, path_, unique));
    TILLSYNC_TRY(pending.append(as_bytes(all.dump())));
    return pending.commit();
  }

  FileSystem& files_;
  Random& random_;
  const std::string path_;
  MemoryUploadJournal memory_;
};

}  // namespace tillsync::test
