import Primitives
import Synchronization
import Telemetry
import TestSupport
import Testing

struct MetricsTests {
    @Test func everyKindOfSeriesIsWrittenAsPrometheusReadsIt() async throws {
        let metrics = Metrics()
        metrics.counter("app_sent_total", help: "What was sent.", labels: ["to", "outcome"])("shop", "done").increment(
            by: 3)
        metrics.gauge("app_temperature_celsius", help: "A backslash \\ and\na line break.")().set(-1.5)
        let histogram = metrics.histogram(
            "app_wait_seconds", help: "Waiting.", labels: ["queue"], buckets: [0.1, 1, 10])("mail")
        for value in [0.05, 0.1, 0.5, 99] { histogram.observe(value) }
        metrics.gauge("app_depth", help: "Computed.", labels: ["queue"]) { [(["b"], 2), (["a"], .infinity)] }
        metrics.counter("app_cpu_seconds_total", help: "Computed.") { [([], 0.25)] }
        let text = metrics.exposition()
        #expect(
            text == #"""
                # HELP app_sent_total What was sent.
                # TYPE app_sent_total counter
                app_sent_total{to="shop",outcome="done"} 3
                # HELP app_temperature_celsius A backslash \\ and\na line break.
                # TYPE app_temperature_celsius gauge
                app_temperature_celsius -1.5
                # HELP app_wait_seconds Waiting.
                # TYPE app_wait_seconds histogram
                app_wait_seconds_bucket{queue="mail",le="0.1"} 2
                app_wait_seconds_bucket{queue="mail",le="1"} 3
                app_wait_seconds_bucket{queue="mail",le="10"} 3
                app_wait_seconds_bucket{queue="mail",le="+Inf"} 4
                app_wait_seconds_sum{queue="mail"} 99.65
                app_wait_seconds_count{queue="mail"} 4
                # HELP app_depth Computed.
                # TYPE app_depth gauge
                app_depth{queue="b"} 2
                app_depth{queue="a"} +Inf
                # HELP app_cpu_seconds_total Computed.
                # TYPE app_cpu_seconds_total counter
                app_cpu_seconds_total 0.25

                """#)
        #expect(try await Program.promtoolComplaints(about: text) == "")
    }

    @Test(arguments: [
        (#"a"b"#, #"a\"b"#), (#"a\b"#, #"a\\b"#), ("a\nb", #"a\nb"#),
        // Each of these is one character to Swift, and must not hide what is to be escaped.
        ("a\r\nb", "a\r\\nb"), ("a\"\u{301}b", "a\\\"\u{301}b"), ("a\\\u{301}b", "a\\\\\u{301}b"),
    ])
    func labelValuesAreEscaped(value: String, escaped: String) async throws {
        let metrics = Metrics()
        metrics.counter("app_sent_total", help: "Sent.\r\nReally.", labels: ["to"])(value).increment()
        let text = metrics.exposition()
        let line = text.unicodeScalars.split(separator: "\n").last.map { String(String.UnicodeScalarView($0)) }
        #expect(line == "app_sent_total{to=\"\(escaped)\"} 1")
        #expect(try await Program.promtoolComplaints(about: text) == "")
    }

    @Test func aSeriesWithoutLabelsIsThereFromTheStartAndOneWithLabelsFromItsFirstUse() {
        let metrics = Metrics()
        _ = metrics.counter("app_plain_total", help: "Plain.")
        let labelled = metrics.counter("app_labelled_total", help: "Labelled.", labels: ["to"])
        metrics.gauge("app_computed", help: "Computed.") { [] }
        #expect(metrics.exposition().contains("app_plain_total 0\n"))
        #expect(!metrics.exposition().contains("app_labelled_total"))
        #expect(!metrics.exposition().contains("app_computed"))
        _ = labelled("shop")
        #expect(metrics.exposition().contains("app_labelled_total{to=\"shop\"} 0\n"))
        labelled.remove("shop")
        #expect(!metrics.exposition().contains("app_labelled_total"))
    }

    @Test func theSameLabelValuesAreTheSameSeries() {
        let family = Metrics().counter("app_total", help: "All.", labels: ["a", "b"])
        family("1", "2").increment()
        family("1", "2").increment()
        #expect(family("1", "2") === family("1", "2"))
        #expect(family("1", "2").value == 2)
        #expect(family("2", "1").value == 0)
    }

    @Test func updatesOfManyThreadsAllCount() async {
        let metrics = Metrics()
        let counter = metrics.counter("app_total", help: "All.")()
        let gauge = metrics.gauge("app_level", help: "Level.")()
        let histogram = metrics.histogram("app_seconds", help: "Time.", buckets: [1])()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 {
                        counter.increment()
                        gauge.add(2)
                        gauge.add(-1)
                        histogram.observe(Duration.milliseconds(500))
                    }
                    histogram.observe([.seconds(2), .seconds(1)])
                }
            }
        }
        #expect(counter.value == 8000)
        #expect(gauge.value == 8000)
        let text = metrics.exposition()
        #expect(text.contains("app_seconds_bucket{le=\"1\"} 8008\n"))
        #expect(text.contains("app_seconds_bucket{le=\"+Inf\"} 8016\n"))
        #expect(text.contains("app_seconds_sum 4024\n"))
    }
}
