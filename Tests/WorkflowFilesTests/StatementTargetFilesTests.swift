import Sagas
import Testing
import WorkflowFiles

/// `deliver: { sql: … }` in workflow files.
struct StatementTargetFilesTests {
    private func subscription(_ deliver: String, _ options: String = "") -> Workflows {
        Workflows("subscription: book\ntopics: [ order.created ]\ndeliver:\n\(deliver)\n\(options)")
    }

    private let good = "  sql: select book($1)\n  args: [ \"${ .payload.n }\" ]"

    @Test func aStatementIsRead() async throws {
        let outcome = await subscription(
            """
              sql: |
                -- commit; is a comment
                insert into ledger (id, text) values ($1, 'commit; $2');
              args: [ "${ .id } ${ .attempt } ${ $env.SHOP }" ]
            """
        ).check()
        #expect(outcome.messages == [])
        let subscription = try #require(outcome.subscriptions.first)
        guard case .sql(let call) = subscription.target else {
            Issue.record("it has another target")
            return
        }
        #expect(call.arguments.count == 1)
        // Each has a connection of its own.
        #expect(subscription.concurrency == 8)
        #expect(try Definition(content: subscription.content) == .subscription(subscription))
    }

    @Test(arguments: [
        (
            "  sql: select book(${ .payload.n })",
            "4:8: error: an expression stands in the text of sql; expected $1, $2, … for values; use args: sql: select f($1), args: [ \"${ .input.id }\" ]"
        ),
        (
            "  sql: commit",
            "4:8: error: the command 'commit' stands in sql; expected a statement that is part of Outrider's transaction, and leaves it and its session as they are"
        ),
        (
            "  sql: /* x */ ROLLBACK to a",
            "4:16: error: the command 'rollback' stands in sql; expected a statement that is part of Outrider's transaction, and leaves it and its session as they are"
        ),
        (
            "  sql: select 1; commit",
            "4:18: error: a second statement stands in sql; expected one statement in each step"
        ),
        (
            "  sql: select $1",
            "4:8: error: 0 arguments for a statement with parameters up to $1; expected as many args as parameters"
        ),
        (
            "  sql: select $1\n  args: [ \"${ .total }\" ]",
            "5:15: error: an argument sees no '.total'; expected one of .payload, .topic, .key, .headers, .id, .attempt; write .payload.total"
        ),
        (
            "  sql: select $1\n  args: [ \"${ .paylod.n }\" ]",
            "5:15: error: an argument sees no '.paylod'; expected one of .payload, .topic, .key, .headers, .id, .attempt; did you mean '.payload'?"
        ),
        (
            "  sql: select 1\n  endpoint: shop",
            "5:3: error: 'endpoint' has no meaning beside 'sql'; expected it beside http"
        ),
        (
            "  http: POST https://a.example\n  args: [ 1 ]",
            "5:3: error: 'args' has no meaning beside 'http'; expected it beside sql"
        ),
        (
            "  http: POST https://a.example\n  sql: select 1",
            "5:8: error: deliver with 'http' and 'sql'; expected exactly one of them"
        ),
    ])
    func aTargetIsChecked(deliver: String, message: String) async {
        let messages = await subscription(deliver).check().messages.filter { !$0.contains("declared nowhere") }
        #expect(messages == ["a.yaml:\(message)"])
    }

    @Test(arguments: [
        (
            "delivery: at-most-once",
            "6:11: error: 'delivery: at-most-once' stands beside 'sql'; expected it beside http; leave it out: a statement is part of the transaction that removes the message, exactly once"
        ),
        (
            "batch: { max: 10 }",
            "6:8: error: 'batch' stands beside 'sql'; expected it beside http; leave it out: each message has a transaction of its own, so that one that fails undoes no other"
        ),
        (
            "concurrency: 101",
            "6:14: error: concurrency is 101 beside 'sql'; expected at most 100: each statement has a connection of its own"
        ),
    ])
    func whatHasNoMeaningBesideAStatementIsRefused(options: String, message: String) async {
        #expect(await subscription(good, options).check().messages == ["a.yaml:\(message)"])
    }
}
