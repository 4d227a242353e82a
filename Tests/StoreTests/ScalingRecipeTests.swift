import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// The query that `Deploy/README.md` gives to autoscalers answers, to somebody who may only read the views.
struct ScalingRecipeTests {
    @Test func theQueryForAutoscalersIsTheDepthOfOneSubscription() async throws {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let text = try #require(Files.text("\(root)/Deploy/README.md"))
        let query = try #require(text.firstMatch(of: #/query: "(select .*)"/#)).output.1
        try await TestDatabase.with { database in
            try await database.subscribe("order-email", to: "order.created")
            try await database.subscribe("other", to: "order.#")
            try await database.publish(7)
            let auditor = try await database.login(memberOf: "outrider_auditor")
            #expect(try await auditor.value("\(unsafeSQL: String(query))", as: Double.self) == 7)
            try await database.query("select outrider.pause('order-email')")
            #expect(try await auditor.value("\(unsafeSQL: String(query))", as: Double.self) == 0)
            await auditor.close()
        }
    }
}
