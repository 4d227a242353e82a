import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing
import WorkflowFiles

/// Applying sagas: versions stay as they are, and a running saga keeps its own.
struct SagaDefinitionTests {
    private func version(_ number: Int, _ steps: String..., more: JSON = [:]) -> JSON {
        .saga("order", version: number, steps.map { .call($0) }, more)
    }

    private func apply(
        _ content: JSON..., on database: TestDatabase, restores: Bool = false, prunes: Bool = false
    ) async throws -> [String] {
        try await apply(content, on: database, restores: restores, prunes: prunes)
    }

    private func apply(
        _ content: [JSON], on database: TestDatabase, restores: Bool = false, prunes: Bool = false
    ) async throws -> [String] {
        let definitions = try content.map { try Definition(content: $0) }
        return try await database.run {
            try DefinitionStore($0).apply(definitions, by: "test", restores: restores, prunes: prunes).map {
                "\($0.name) \($0.change)"
            }
        }
    }

    /// The version that a saga of now runs.
    private func startsVersion(on database: TestDatabase) async throws -> Int32 {
        let id = try await database.start("order")
        return try await database.value("select version from outrider.sagas where id = \(id)")
    }

    @Test func aNewVersionTouchesNewSagasOnly() async throws {
        try await TestDatabase.with { database in
            #expect(try await apply(version(1, "reserve"), on: database) == ["order created"])
            let old = try await database.start("order")
            #expect(try await apply(version(2, "reserve", "charge"), on: database) == ["order changed"])
            #expect(try await startsVersion(on: database) == 2)
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            #expect(saga.id == old)
            try await saga.handle(.begin)
            try await saga.succeed("reserve")
            #expect(saga.state.status == .completed)
            #expect(
                try await database.values(
                    "select version || ' ' || (replaced_at is null) from outrider.definitions order by version",
                    as: String.self)
                    == ["1 false", "2 true"])
            await worker.session.close()
        }
    }

    @Test func otherContentUnderAVersionIsRefusedAndNothingOfTheApplyIsKept() async throws {
        try await TestDatabase.with { database in
            _ = try await apply(version(1, "reserve"), on: database)
            _ = try await apply(version(2, "charge"), on: database)
            for changed in [version(1, "reserve", "ship"), version(2, "charge", more: ["timeout": "1h"])] {
                for restores in [false, true] {
                    do {
                        _ = try await apply(.saga("other", [.call("a")]), changed, on: database, restores: restores)
                        Issue.record("it was applied")
                    } catch let error as SagaDefinitions.ContentChanged {
                        #expect(error.name == "order")
                        #expect("\(error)".contains("give the changed one version \(error.version + 1)"))
                    }
                }
            }
            #expect(try await database.count("select count(*) from outrider.definitions") == 2)
            #expect(try await startsVersion(on: database) == 2)
        }
    }

    @Test func theHighestOfSeveralVersionsStartsAndAllAreKept() async throws {
        try await TestDatabase.with { database in
            let versions = [version(2, "b"), version(3, "c"), version(1, "a")]
            for change in ["created", "unchanged"] {
                let changes = try await apply(versions, on: database)
                #expect(changes == ["order \(change)", "order \(change)", "order \(change)"])
            }
            #expect(try await startsVersion(on: database) == 3)
        }
    }

    /// An older worker's folder does not put its version back; a person's `outrider apply` does.
    @Test func anOlderFolderIsSuperseded() async throws {
        try await TestDatabase.with { database in
            _ = try await apply(version(1, "a"), on: database)
            _ = try await apply(version(2, "b"), on: database)
            #expect(try await apply(version(1, "a"), on: database) == ["order superseded"])
            #expect(try await startsVersion(on: database) == 2)
            #expect(try await apply(version(1, "a"), on: database, restores: true) == ["order changed"])
            #expect(try await startsVersion(on: database) == 1)
        }
    }

    @Test func aRemovedSagaStartsNoMoreAndWhatRunsGoesOn() async throws {
        try await TestDatabase.with { database in
            _ = try await apply(
                version(1, "a", more: ["start_on": "order.placed", "key": "${ .input.n }"]), on: database)
            let id = try await database.start("order", ["n": 1])
            try await database.execute("select outrider.publish('order.placed', '{\"n\": 2}')")
            #expect(try await apply(on: database, prunes: true) == ["order removed"])
            #expect(
                try await database.refusal("select outrider.start_saga('order', '{}')")
                    == "OR003: there is no saga 'order'")
            // What was published for it is not lost, and nothing more comes.
            try await database.execute("select outrider.publish('order.placed', '{\"n\": 3}')")
            #expect(try await database.run { try Housekeeping($0).buryRemoved(most: 10) } == 1)
            #expect(
                try await database.values(
                    "select subscription || ' ' || reason from outrider.dead_letters", as: String.self)
                    == ["saga:order removed"])
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            #expect(saga.id == id)
            try await saga.handle(.begin)
            try await saga.succeed("a")
            #expect(saga.state.status == .completed)
            // Back again.
            #expect(try await apply(version(2, "a"), on: database) == ["order created"])
            #expect(try await startsVersion(on: database) == 2)
            await worker.session.close()
        }
    }

    @Test func theTopicThatStartsASagaFollowsItsDefinition() async throws {
        try await TestDatabase.with { database in
            func routes(_ topic: String) async throws -> Int {
                try await database.execute("select outrider.publish('\(topic)', '{}')")
                return try await database.count(
                    "with gone as (delete from outrider.delivery returning 1) select count(*) from gone")
            }
            _ = try await apply(version(1, "a", more: ["start_on": "one"]), on: database)
            #expect(try await routes("one") == 1)
            _ = try await apply(version(2, "a", more: ["start_on": "two"]), on: database)
            #expect(try await routes("one") == 0)
            #expect(try await routes("two") == 1)
            _ = try await apply(version(3, "a"), on: database)
            #expect(try await routes("two") == 0)
            _ = try await apply(version(4, "a", more: ["start_on": "two"]), on: database)
            #expect(try await routes("two") == 1)
            #expect(try await database.count("select count(*) from outrider.subscriptions") == 1)
        }
    }

    /// A program of another version applied what this one cannot read: the others are served all the same.
    @Test func aDefinitionThatCannotBeReadIsAFailureOfItsOwn() async throws {
        try await TestDatabase.with { database in
            _ = try await apply(version(1, "a"), .saga("other", [.call("b")]), on: database)
            try await database.execute(
                "update outrider.definition set content = content || '{\"new_option\": 1}' where name = 'order'")
            let read = try await database.run { connection in
                try SagaDefinitions(connection).current().map { (try? $0.get().name) ?? "unreadable" }
            }
            #expect(read.sorted() == ["other", "unreadable"])
            #expect(
                try await database.run { try SagaDefinitions($0).types(named: ["order", "nope"]).map(\.name) } == [
                    "order"
                ])
        }
    }
}
