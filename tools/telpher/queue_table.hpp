// A table of queues: a command's own columns, and those of leases where a queue has leases.
#pragma once

#include "telpher/queue.hpp"

#include "tools/telpher/output.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace telpher::cli {

class QueueTable {
  public:
    // `names` of its columns; from `first_number` on they are aligned to the right.
    QueueTable(const std::vector<QueueStatus>& queues,
               std::vector<std::string> names,
               std::size_t first_number);
    void add(const QueueStatus& queue, std::vector<std::string> row);
    [[nodiscard]] std::string text() const { return table_.text(); }

  private:
    bool leases_;  // whether any of the queues has them
    Table table_;
};

}  // namespace telpher::cli
