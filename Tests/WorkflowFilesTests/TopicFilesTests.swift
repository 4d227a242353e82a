import Primitives
import Testing
import WorkflowFiles

/// The limits of topics, as files have them.
struct TopicFilesTests {
    @Test func limitsAreRead() async throws {
        let outcome = await Workflows(
            """
            topic: a
            max_backlog: 1000000
            ---
            topic: b
            publish_rate: 20/m
            overflow: block
            block_for: 250ms
            ---
            topic: c
            max_backlog: 1
            overflow: drop_oldest
            ---
            topic: d
            """
        ).check()
        #expect(outcome.messages == [])
        let topics = outcome.definitions.compactMap { if case .topic(let topic) = $0 { topic } else { nil } }
        #expect(topics.map(\.maxBacklog) == [1_000_000, nil, 1, nil])
        #expect(topics.map(\.overflow) == [.reject, .block, .dropOldest, .reject])
        #expect(topics.map(\.blockFor) == [.seconds(5), .milliseconds(250), .seconds(5), .seconds(5)])
        #expect(topics.map(\.publishRate?.text) == [nil, "20/m", nil, nil])
    }

    @Test(arguments: [
        (
            "max_backlog: 0",
            "2:14: error: the number 0 stands for max_backlog; expected a whole number from 1 to 1000000"
        ),
        (
            "max_backlog: 1000001",
            "2:14: error: the number 1000001 stands for max_backlog; expected a whole number from 1 to 1000000"
        ),
        (
            "max_backlog: 5\noverflow: drop-oldest",
            "3:11: error: 'drop-oldest' stands for overflow; expected reject, block, drop_oldest or drop_newest; did you mean 'drop_oldest'?"
        ),
        (
            "overflow: reject",
            "2:11: warning: 'overflow' has no effect in a topic without a limit; write 'max_backlog' or 'publish_rate' beside it, or leave it out"
        ),
        (
            "publish_rate: 5/s\noverflow: drop_newest",
            "3:11: error: 'overflow: drop_newest' stands in a topic without 'max_backlog'; expected 'max_backlog' beside it, or reject or block; a publisher that is faster than 'publish_rate' is refused or waits; nothing is dropped for it"
        ),
        ("retention: 100000d", "2:12: error: '100000d' stands for retention; expected at most 3650d"),
        (
            "max_backlog: 5\nblock_for: 5s",
            "3:12: warning: 'block_for' has no effect beside 'overflow: reject', the default; write 'overflow: block', or leave it out"
        ),
        (
            "max_backlog: 5\noverflow: drop_oldest\nblock_for: 5s",
            "4:12: warning: 'block_for' has no effect beside 'overflow: drop_oldest'; write 'overflow: block', or leave it out"
        ),
        (
            "max_backlog: 5\noverflow: block\nblock_for: 2h",
            "4:12: error: '2h' stands for block_for; expected at most 1h"
        ),
        (
            "publish_rate: 1000",
            "2:15: error: the number 1000 stands for publish_rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000; did you mean '1000/s'?"
        ),
        (
            "publish_rate: 0/s",
            "2:15: error: '0/s' stands for publish_rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000"
        ),
        (
            "max_backlok: 5\noverflow: drop_newest",
            "2:1: error: unknown key 'max_backlok' of a topic; did you mean 'max_backlog'?"
        ),
    ])
    func limitsAreChecked(lines: String, message: String) async {
        #expect(await Workflows("topic: a\n\(lines)").check().messages == ["a.yaml:\(message)"])
    }

    /// The example of the language's description.
    @Test func anOptionWithoutEffectStopsNothing() async {
        let outcome = await Workflows(
            """
            topic: order.created
            retention: 7d
            max_backlog: 100000
            overflow: reject
            block_for: 5s
            publish_rate: 1000/s
            dedupe_window: 24h
            """
        ).check()
        #expect(!outcome.hasErrors)
        #expect(outcome.topics.count == 1)
    }
}
