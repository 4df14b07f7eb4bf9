#include "tools/telpher/queue_table.hpp"

#include "tools/telpher/units.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace telpher::cli {
namespace {

bool leased(const QueueStatus& queue) { return queue.delivery == DeliveryMode::at_least_once; }

std::vector<std::string> with_leases(std::vector<std::string> names, bool leases) {
    if (leases) {
        names.insert(names.end(), {"LEASED", "DELAYED", "DEAD"});
    }
    return names;
}

}  // namespace

QueueTable::QueueTable(const std::vector<QueueStatus>& queues,
                       std::vector<std::string> names,
                       std::size_t first_number)
    : leases_(std::any_of(queues.begin(), queues.end(), leased)),
      table_(with_leases(names, leases_)) {
    std::vector<std::size_t> numbers(with_leases(std::move(names), leases_).size() - first_number);
    std::iota(numbers.begin(), numbers.end(), first_number);
    table_.align_right(std::move(numbers));
}

void QueueTable::add(const QueueStatus& queue, std::vector<std::string> row) {
    if (leases_) {
        for (const std::uint64_t figure : {queue.leased, queue.delayed, queue.dead_lettered}) {
            row.push_back(leased(queue) ? format_count(figure) : "-");
        }
    }
    table_.add(std::move(row));
}

}  // namespace telpher::cli
