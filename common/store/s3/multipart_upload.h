// One put_resumable() of an object that goes up in parts.
//
// What is known is asked in this order, so that nothing is sent twice and nothing is taken for ours that is not:
//   the journal        has an upload of this key and size?
//   HEAD of the key    carries its token: it is done. Carries another: conflict
//   ListParts          all pages; a part counts when number, size and ETag are the journal's, and the source still has
//                      the bytes of its SHA-256
// Gone (NoSuchUpload; NoSuchKey on Ceph): a new upload. Then the missing parts, Complete, and HEAD again: success is an
// object of our size with our token. What Complete answered, a 200 with an <Error>, a 500, nothing at all, only says
// what to do when HEAD finds no such object.
// Memory: no part is held; the source is read for a part's digests, and again as the connection takes it.
// Threads: all of it on the caller's, but the requests of the parts, which read the source. Uploads at the same time
// share what may be under way.
#pragma once

#include "store/s3/part_source.h"
#include "store/s3/s3_store.h"

namespace tillsync::s3 {

class MultipartUpload {
 public:
  static constexpr uint64_t kPartsMax = 10'000;
  static constexpr uint64_t object_size_max(uint64_t under_way_max) { return kPartsMax * under_way_max; }

  MultipartUpload(S3Store& store, const std::string& key, ObjectSource& source, UploadJournal& journal,
                  const std::function<bool(uint64_t)>& progress);
  Result<void> run();

 private:
  enum class Presence { none, ours, other };
  struct Sent;  // what becomes of a part

  Result<bool> resume();  // false: there is nothing to go on with
  Result<void> begin();
  Result<Presence> presence();
  Result<std::optional<std::vector<UploadPart>>> listed_parts();  // nullopt: the upload is gone
  Result<void> keep_what_is_there(const std::vector<UploadPart>& listed);
  Result<void> send_missing();
  // false: the upload is gone, and the object is not there. once more: of an object that is there, and in no listing.
  Result<bool> complete(bool is_once_more);
  S3Request part_request(uint32_t number, const PartDigests& digests) const;
  uint64_t offset_of(uint32_t number) const { return uint64_t{number - 1} * upload_.part_size; }
  uint64_t size_of(uint32_t number) const;
  uint32_t part_count() const;
  bool may_begin_part(uint64_t size) const;  // with parts_->mutex held
  bool report(uint64_t sent);
  Error error(const Failure& failure, const std::string& doing) const;

  S3Store& store_;
  const std::string& key_;
  SharedSource source_;
  UploadJournal& journal_;
  const std::function<bool(uint64_t)>& progress_;
  Upload upload_;  // parts: those that the store has
  uint64_t told_ = 0;
};

}  // namespace tillsync::s3
