import Postgres
import Primitives
import Store
import TestSupport

/// A registered worker on a session of its own.
struct Life: Sendable {
    let token: UUID
    let session: Session

    static func begin(_ name: String, on database: TestDatabase) async throws -> Life {
        let life = Life(token: .random(), session: Session(database.url))
        try await life.session.run {
            try WorkerRegistry($0).register(token: life.token, name: name, version: "1", lease: .seconds(30))
        }
        return life
    }

    func beat(
        connectedFor: Duration = .seconds(1), sweeps: Bool = false, floors: [(subscription: Int32, floor: Int64)] = []
    ) async throws -> Housekeeping.Beat {
        try await session.run {
            try Housekeeping($0).beat(
                Housekeeping.Vitals(
                    token: token, connectedFor: connectedFor, inFlight: 0, isDraining: false, leads: false,
                    sweeps: sweeps, floors: floors))
        }
    }

    /// Of the only subscription.
    func claim(_ count: Int, floor: Int64 = 0) async throws -> [ClaimedDelivery] {
        try await session.run { connection in
            let subscription = try connection.query("select id from outrider.subscription")[0].decode(
                0, as: Int32.self)
            var exchange = Exchange()
            exchange.requests = [
                ClaimRequest(subscription: subscription, count: count, floor: floor, removes: false)
            ]
            return try exchange.run(on: connection, token: token, worker: "w").claimed
        }
    }

    /// Reports success; returns how many came too late.
    func acknowledge(_ deliveries: [ClaimedDelivery]) async throws -> Int {
        try await report(deliveries, "succeeded", .done)
    }

    /// Reports what the first try came to; returns how many came too late.
    @discardableResult
    func report(_ deliveries: [ClaimedDelivery], _ outcome: String, _ ending: FinishedTry.Ending) async throws -> Int {
        try await session.run { connection in
            var exchange = Exchange()
            exchange.finished = deliveries.map {
                FinishedTry(
                    delivery: $0, attempt: 1, outcome: outcome, duration: .zero, ending: ending,
                    isRecorded: outcome != "succeeded")
            }
            return try exchange.run(on: connection, token: token, worker: "w").late
        }
    }
}
