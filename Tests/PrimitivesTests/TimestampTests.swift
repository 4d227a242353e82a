import Primitives
import Testing

struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-11-24T08:16:00Z", 1_795_508_160_000_000),
        ("2026-11-24T08:16:00.123456Z", 1_795_508_160_123_456), ("2000-02-29T23:59:59Z", 951_868_799_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
    ])
    func rfc3339RoundTrips(text: String, microseconds: Int64) {
        #expect(Timestamp(rfc3339: text) == Timestamp(microseconds: microseconds))
        #expect(Timestamp(microseconds: microseconds).rfc3339 == text)
    }

    @Test func offsetsAreTakenIntoAccount() {
        #expect(Timestamp(rfc3339: "2026-11-24T09:16:00+01:00") == Timestamp(rfc3339: "2026-11-24T08:16:00Z"))
        #expect(Timestamp(rfc3339: "2026-11-24t08:16:00.1z")?.microseconds == 1_795_508_160_100_000)
    }

    @Test(arguments: [
        "", "2026-11-24", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T08:16:00",
        "2026-11-24T08:16:00.Z", "x",
    ])
    func refusesWhatIsNoInstant(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }
}
