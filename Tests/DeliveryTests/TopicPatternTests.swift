import Delivery
import Testing

struct TopicPatternTests {
    @Test(arguments: [
        ("order.created", "order.created", true), ("order.created", "order.createdx", false),
        ("order.*", "order.created", true),
        ("order.*", "order.line.created", false), ("order.*", "order", false), ("*.created", "order.created", true),
        ("order.#", "order", true), ("order.#", "order.a.b", true), ("order.#", "orders", false),
        ("#", "anything.at.all", true),
        ("*", "one", true), ("*", "one.two", false), ("a.*.c", "a.b.c", true), ("a.*.c", "a.b.b.c", false),
    ])
    func matchesLikeATopicExchange(pattern: String, topic: String, expected: Bool) throws {
        #expect(try #require(TopicPattern(pattern)).matches(topic) == expected)
    }

    @Test(arguments: ["", ".", "a..b", "a.", ".a", "A", "a.#.b", "a*", "a.b#", "1a", "-a", "a b", "ä"])
    func refusesWhatIsNoPattern(text: String) {
        #expect(TopicPattern(text) == nil)
    }
}
