#include "agent/daemon/leftovers.h"

#include <set>

#include "base/json.h"

namespace tillsync {

Result<void> sweep_leftovers(const Services& services) {
  // After a kill, what is read here may not be durable: a power cut would bring back a record that needs what went.
  TILLSYNC_TRY(services.state->make_durable());
  std::set<std::string> wanted;
  {
    auto db = services.state->lease();
    // What a backup queued that has ended.
    TILLSYNC_TRY(
        db->execute("DELETE FROM transfer_queue WHERE owner<>'' AND NOT EXISTS (SELECT 1 FROM workflows w "
                    "WHERE w.uuid=owner AND w.status IN ('PENDING', 'IN_PROGRESS'))"));
    TILLSYNC_LET(auto queued, db->prepare("SELECT spool_path FROM transfer_queue"));
    while (true) {
      TILLSYNC_LET(bool row, queued.step());
      if (!row) break;
      wanted.insert(queued.text(0));
    }
    TILLSYNC_LET(auto steps, db->prepare("SELECT s.data, w.uuid FROM workflow_steps s JOIN workflows w ON "
                                         "w.id=s.workflow_id WHERE w.status IN ('PENDING', 'IN_PROGRESS')"));
    while (true) {
      TILLSYNC_LET(bool row, steps.step());
      if (!row) break;
      auto data = Json::parse(steps.text(0), nullptr, false);
      for (const char* suffix : {".db", ".db-wal", ".db.state"})
        wanted.insert(services.staging_folder() + "/" + steps.text(1) + suffix);
      wanted.insert(services.safety_folder() + "/" + steps.text(1) + ".db");
      if (!data.is_object()) continue;
      for (const char* key : {"draft", "manifest"})
        if (data.contains(key) && data[key].is_string()) wanted.insert(data[key]);
      for (const char* key : {"packs", "asset_objects"})
        if (data.contains(key) && data[key].is_array())
          for (auto& object : data[key])
            if (object.contains("path")) wanted.insert(object["path"]);
    }
  }
  {
    auto db = services.state->lease();
    TILLSYNC_LET(auto kept, db->prepare("SELECT path FROM safety_copies"));
    while (true) {
      TILLSYNC_LET(bool row, kept.step());
      if (!row) break;
      wanted.insert(kept.text(0));
    }
  }
  for (auto& folder : {services.spool_folder(), services.staging_folder(), services.safety_folder()}) {
    TILLSYNC_LET(auto entries, services.files->list(folder));
    for (auto& entry : entries) {
      std::string path = folder + "/" + entry.name;
      if (entry.type == FileType::regular && !wanted.contains(path)) (void)services.files->remove(path).has_value();
    }
  }
  return {};
}

}  // namespace tillsync
