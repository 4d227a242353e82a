import EmbeddedPostgres
import TestSupport
import Testing

/// The demo checks itself: it exits 0 only if the shop's books agree with the orders and the sagas.
struct DemoTests {
    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    private static let words = ["demo", "--workflows", "\(root)/Workflows", "--orders", "50", "--sagas", "14"]

    @Test func theDemoTellsItsStoryAndTheLedgersAgree() async throws {
        let folder = TemporaryFolder()
        let demo = try RunningOutrider(Self.words + ["--directory", folder.path])
        #expect(try await demo.exit(within: .seconds(120)) == .code(0), "\(demo.output)\n\(demo.log)")
        #expect(demo.log == "")
        for told in [
            "Nothing was lost, nothing was invented.", "$ kill -9 ", "takes its sagas over",
            "waits for somebody to look", "review is on its way", "One order is stuck", "refunds-closed",
            "retry is on its way", "no-carrier", "card-declined", "out-of-stock",
            "Every order is shipped and paid, or undone as if it had never been.",
        ] {
            #expect(demo.output.contains(told), "not told: \(told)\n\(demo.output)")
        }
    }

    @Test func anInterruptedDemoLeavesNothingRunning() async throws {
        let folder = TemporaryFolder()
        let demo = try RunningOutrider(Self.words + ["--directory", folder.path])
        try await eventually("the worker dies", within: .seconds(60)) {
            demo.output.contains("$ kill -9 ") || demo.status != nil
        }
        demo.interrupt()
        #expect(try await demo.exit(within: .seconds(60)) == .code(130), "\(demo.output)\n\(demo.log)")
        #expect(demo.log.contains("interrupted"))
        let server = try #require(Files.text("\(folder.path)/server.log"))
        #expect(server.contains("database system is shut down"))
        #expect(Self.processes(mentioning: folder.path) == [])
    }

    /// Ids of those whose command line names it: the server, and workers with their log there do.
    private static func processes(mentioning text: String) -> [String] {
        Files.names(in: "/proc").filter { name in
            name.allSatisfy(\.isNumber)
                && (Files.text("/proc/\(name)/cmdline") ?? "").replacing("\0", with: " ").contains(text)
        }
    }
}
