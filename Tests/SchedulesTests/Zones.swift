import Primitives
import Schedules
import Testing

/// Instants as the tests write them, and the zones of this machine.
func at(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text), "\(text) is no time") }

func zone(_ name: String) throws -> TimeZoneRules { try TimeZoneFiles().rules(name) }

/// The firings after an instant, as many as asked for.
func firings(_ cron: String, after start: String, in zoneName: String = "UTC", count: Int) throws -> [String] {
    let (cron, zone) = (try CronExpression(cron), try zone(zoneName))
    var instant = try at(start)
    return try (0..<count).map { _ in
        instant = try #require(cron.next(after: instant, in: zone))
        return instant.rfc3339
    }
}
