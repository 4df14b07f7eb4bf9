// The report for machines. Its schema is in bench/README.md.
#include "bench/e2e/options.hpp"
#include "bench/e2e/pictures.hpp"
#include "bench/e2e/report.hpp"
#include "bench/e2e/versions.hpp"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <fstream>
#include <iostream>

namespace telpher::bench {

namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Machine& machine) {
    return {{"cpu", machine.cpu},
            {"cores", machine.cores},
            {"kernel", machine.kernel},
            {"compiler", machine.compiler},
            {"build", machine.build},
            {"date", machine.date},
            {"load_before", machine.load_before},
            {"load_after", machine.load_after},
            {"scheduler", machine.scheduler}};
}

Json json_of(const Row& row) {
    Json samples = Json::array();
    for (const Sample& sample : row.samples) {
        samples.push_back({{"p50", sample.p50},
                           {"p99", sample.p99},
                           {"mean", sample.mean},
                           {"max", sample.max},
                           {"preempted", sample.preemptions}});
    }
    Json histogram = Json::array();
    for (const auto& [value, count] : row.counts()) {
        histogram.push_back({value, count});
    }
    return {{"row", row.name},
            {"unit", row.unit},
            {"samples", std::move(samples)},
            {"histogram", std::move(histogram)}};
}

Json targets_of(const Results& results) {
    Json targets = Json::array();
    for (const Target& target : all_targets()) {
        const Verdict verdict = judge(target, results);
        if (verdict.measured) {
            targets.push_back({{"target", target.text},
                               {"at_least", target.at_least},
                               {"limit", target.limit},
                               {"median", verdict.value.median},
                               {"min", verdict.value.min},
                               {"max", verdict.value.max},
                               {"pass", verdict.pass}});
        }
    }
    return targets;
}

Json pictures_of(const Results& results) {
    Json pictures = Json::array();
    for (const Picture& picture : all_pictures()) {
        const std::vector<Line> lines = measured_lines(picture, results);
        if (lines.empty() || picture.shape == Shape::percentiles) {
            continue;
        }
        Json drawn = Json::array();
        for (const Line& line : lines) {
            Json points = Json::array();
            for (const Point& point : line.points) {
                points.push_back(
                    {{"x", point.x}, {"y", shown(picture, point, results)}, {"row", point.row}});
            }
            drawn.push_back({{"label", line.label}, {"points", std::move(points)}});
        }
        pictures.push_back({{"name", picture.name},
                            {"title", picture.title},
                            {"shape", picture.shape == Shape::bars ? "bars" : "curve"},
                            {"x", picture.x_label},
                            {"y", picture.y_label},
                            {"lines", std::move(drawn)}});
    }
    return pictures;
}

}  // namespace

Result<void> ready_to_write(const std::string& path) {
    if (path != kStandardOutput && !std::ofstream(path, std::ios::app)) {
        return Error{Status::server_error, errno, "cannot write " + path};
    }
    return {};
}

Result<void> write_json(const std::string& path,
                        const Context& context,
                        const Machine& machine,
                        const Results& results) {
    Json rows = Json::array();
    for (const Row& row : results.rows()) {
        rows.push_back(json_of(row));
    }
    const Json all{{"machine", json_of(machine)},
                   {"versions", versions()},
                   {"processors", {context.cpus[0], context.cpus[1]}},
                   {"one_processor", context.one_cpu},
                   {"wait_strategy", context.wait_strategy},
                   {"scale", context.scale.name},
                   {"rounds", context.scale.rounds},
                   {"round_trips", context.scale.round_trips},
                   {"messages", context.scale.messages},
                   {"slow_messages", context.scale.slow_messages},
                   {"ns_per_pause", context.clock.ns_per_pause},
                   {"noise", noise_of(results)},
                   {"rows", std::move(rows)},
                   {"pictures", pictures_of(results)},
                   {"targets", targets_of(results)},
                   {"seconds", results.seconds()},
                   {"not_built", missing_peers()},
                   {"skipped", results.skips()},
                   {"failures", results.failures()}};
    const std::string text =
        all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    if (path == kStandardOutput) {
        std::cout << text << std::flush;
        return std::cout ? Result<void>{} : Error{Status::server_error, errno, "cannot write"};
    }
    std::ofstream out(path);
    out << text;
    out.close();
    return out ? Result<void>{} : Error{Status::server_error, errno, "cannot write " + path};
}

}  // namespace telpher::bench
