#include "src/client/settings_text.hpp"

#include "telpher/retry.hpp"

#include <array>
#include <charconv>

namespace telpher::detail {
namespace {

constexpr std::uint64_t kThousand = 1000;
constexpr std::array<std::string_view, 4> kJitters{"none", "full", "equal", "decorrelated"};
static_assert(static_cast<int>(Jitter::none) == 0 && static_cast<int>(Jitter::full) == 1 &&
                  static_cast<int>(Jitter::equal) == 2 &&
                  static_cast<int>(Jitter::decorrelated) == 3,
              "the numbers lie in segments");

const shm::SettingRule& rule_of(shm::Setting setting) {
    return shm::kSettingRules[static_cast<std::size_t>(setting)];
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    return failure == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                      : std::nullopt;
}

// "1.5" is 1500; at most three digits behind the point.
std::optional<std::uint64_t> parse_thousandths(std::string_view text) {
    const std::size_t point = text.find('.');
    const auto whole = parse_count(text.substr(0, point));
    if (!whole || *whole > rule_of(shm::Setting::factor).most) {
        return std::nullopt;
    }
    std::uint64_t part = 0;
    if (point != std::string_view::npos) {
        std::string digits(text.substr(point + 1));
        if (digits.empty() || digits.size() > 3) {
            return std::nullopt;
        }
        digits.resize(3, '0');
        const auto parsed = parse_count(digits);
        if (!parsed) {
            return std::nullopt;
        }
        part = *parsed;
    }
    return *whole * kThousand + part;
}

std::optional<std::uint64_t> parse(shm::SettingForm form, std::string_view text) {
    switch (form) {
        case shm::SettingForm::thousandths:
            return parse_thousandths(text);
        case shm::SettingForm::jitter:
            for (std::size_t i = 0; i < kJitters.size(); ++i) {
                if (kJitters[i] == text) {
                    return i;
                }
            }
            return std::nullopt;
        case shm::SettingForm::count:
            break;
    }
    return parse_count(text);
}

std::string text_of(shm::SettingForm form, std::uint64_t value) {
    if (form == shm::SettingForm::jitter) {
        return std::string(kJitters[value]);  // in its range
    }
    if (form != shm::SettingForm::thousandths) {
        return std::to_string(value);
    }
    std::string part = std::to_string(kThousand + value % kThousand).substr(1);
    part.erase(part.find_last_not_of('0') + 1);
    return std::to_string(value / kThousand) + (part.empty() ? "" : "." + part);
}

std::string allowed_by(const shm::SettingRule& rule) {
    if (rule.form == shm::SettingForm::jitter) {
        std::string all;
        for (const std::string_view name : kJitters) {
            all += (all.empty() ? "" : ", ") + std::string(name);
        }
        return all;
    }
    return text_of(rule.form, rule.least) + ".." + text_of(rule.form, rule.most);
}

Error unknown(std::string_view name) {
    std::string all;
    for (const shm::SettingRule& rule : shm::kSettingRules) {
        all += (all.empty() ? "" : ", ") + std::string(rule.name);
    }
    return {Status::bad_request,
            0,
            "there is no setting '" + std::string(name.substr(0, 100)) + "', there are " + all};
}

}  // namespace

Result<SettingChange> parse_setting(std::string_view name, std::string_view value) {
    for (std::uint32_t i = 0; i < shm::kSettings; ++i) {
        const shm::SettingRule& rule = shm::kSettingRules[i];
        if (name != rule.name) {
            continue;
        }
        SettingChange change{static_cast<shm::Setting>(i), std::nullopt};
        if (value.empty()) {
            return change;
        }
        change.value = parse(rule.form, value);
        if (!change.value || *change.value < rule.least || *change.value > rule.most) {
            return Error{Status::bad_request,
                         0,
                         std::string(name) + " is '" + std::string(value.substr(0, 100)) +
                             "', allowed are " + allowed_by(rule)};
        }
        return change;
    }
    return unknown(name);
}

DomainSetting describe_setting(shm::Setting setting, std::optional<std::uint64_t> value) {
    const shm::SettingRule& rule = rule_of(setting);
    return {rule.name, value ? text_of(rule.form, *value) : std::string(), allowed_by(rule)};
}

}  // namespace telpher::detail
