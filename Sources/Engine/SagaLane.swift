import Primitives
import Store

/// One queue of sagas, or of messages that start them.
struct SagaLane: Sendable {
    let id: Int32
    let startsSagas: Bool
    var floor: Int64 = 0
    var polling = Polling()

    init(id: Int32, startsSagas: Bool) {
        self.id = id
        self.startsSagas = startsSagas
    }

    mutating func looked(
        _ request: ClaimRequest, got: Int, newest: Int64?, _ floor: Floor, now: ContinuousClock.Instant
    ) {
        polling.found(got, of: request.count, now: now)
        self.floor = floor.raised(self.floor, asked: request.count, got: got, newest: newest)
    }
}
