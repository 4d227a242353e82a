import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What a worker knows of the shares when it has negotiated, and what it must still notice.
struct LimitExchangeTests {
    /// Else the one that stays would take the departure for known, and wait for ever with what was left for it.
    @Test func whoLeavesDuringANegotiationIsNoticedAfterIt() async throws {
        try await TestDatabase.with { database in
            let stays = try await Life.begin("stays", on: database)
            let leaves = try await Life.begin("leaves", on: database)
            _ = try await leaves.take(64, of: 64)
            let known = try await stays.session.run { connection in
                try LimitExchange(connection, token: stays.token, worker: "stays").run([], joins: false) { book in
                    #expect(book.shares["subscription:mail:concurrency"]?.map(\.granted) == [64])
                    try WorkerRegistry(try Connection(database.url)).unregister(token: leaves.token)
                    return LimitExchange.Answer(share: stays.share(granted: 0, of: 64))
                }
            }
            let now = try await database.value("select outrider.limits_digest()", as: String.self)
            #expect(known != now)
            // Nothing is left to notice once it has looked again.
            let knownAgain = try await stays.take(64, of: 64)
            let settled = try await stays.take(64, of: 64)
            #expect(knownAgain != settled)
            #expect(try await database.value("select outrider.limits_digest()", as: String.self) == settled)
            for session in [stays.session, leaves.session] { await session.close() }
        }
    }
}

extension Life {
    fileprivate func share(granted: Int64, of amount: Int64) -> LimitExchange.Share {
        LimitExchange.Share(
            name: "subscription:mail:concurrency", worker: token, amount: amount, granted: granted, need: amount)
    }

    /// Negotiates for this and nothing else; returns the digest.
    fileprivate func take(_ granted: Int64, of amount: Int64) async throws -> String {
        try await session.run { connection in
            try LimitExchange(connection, token: token, worker: "w").run([], joins: false) { book in
                let share = share(granted: granted, of: amount)
                return book.shares[share.name]?.contains(share) == true
                    ? LimitExchange.Answer() : LimitExchange.Answer(share: share)
            }
        }
    }
}

extension LimitExchange.Answer {
    fileprivate init(share: LimitExchange.Share) {
        self.init()
        shares = [share]
    }
}
