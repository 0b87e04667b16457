// What the demo and the shop it starts say to each other: files in a folder, so that the shop is a process of its own
// with nothing of tillsync in it, as a till's application is.
//
//   shop.db        the database          shop.stop   demo: close, please
//   shop.ready     shop: it is open      shop.json   shop: {sales, seconds, p50_us, p99_us, max_us, busy_waits}, at the
//   end moment         demo: note a moment   moment.db, moment.json   shop: a page-exact copy at one sale, and {sale}
#pragma once

#include <string>

namespace tillsync {

struct DemoShopFiles {
  explicit DemoShopFiles(const std::string& folder)
      : database(folder + "/shop.db"),
        stop(folder + "/shop.stop"),
        ready(folder + "/shop.ready"),
        result(folder + "/shop.json"),
        moment_wanted(folder + "/moment"),
        moment_copy(folder + "/moment.db"),
        moment(folder + "/moment.json") {}
  std::string database, stop, ready, result, moment_wanted, moment_copy, moment;
};

}  // namespace tillsync
