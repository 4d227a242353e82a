import Store
import Testing

@testable import Engine

struct FloorTests {
    private func horizon(_ oldest: UInt64, _ next: UInt64?, _ id: Int64) -> Exchange.Horizon {
        Exchange.Horizon(oldestRunning: oldest, next: next, newestID: id)
    }

    @Test func idsAreSealedOnlyOnceEveryWriterThatCouldHoldOneHasEnded() {
        var floor = Floor()
        floor.observed(horizon(100, 110, 50))  // transaction 105 may hold an id up to 50
        #expect(floor.sealed == 0)
        floor.observed(horizon(100, 120, 70))  // the pair: ids up to 50, transactions below 120
        #expect(floor.sealed == 0)
        floor.observed(horizon(119, 130, 90))  // 119 is still running
        #expect(floor.sealed == 0)
        floor.observed(horizon(120, 140, 95))
        #expect(floor.sealed == 50)
    }

    @Test func aLongTransactionStopsItAndItsEndLetsItGoOn() {
        var floor = Floor()
        for step in 0..<20 { floor.observed(horizon(5, 100 + UInt64(step), Int64(step) * 10)) }
        #expect(floor.sealed == 0)
        floor.observed(horizon(200, 200, 300))
        #expect(floor.sealed == 0)  // the pair that waited had the id of the first reading
        floor.observed(horizon(300, 300, 400))
        floor.observed(horizon(400, 400, 500))
        #expect(floor.sealed >= 190)
    }

    @Test func aClaimProvesNoMoreThanItSaw() {
        var floor = Floor()
        floor.observed(horizon(1, 1, 1000))
        floor.observed(horizon(1, 1, 1000))
        floor.observed(horizon(1, 1, 1000))
        #expect(floor.sealed == 1000)
        #expect(floor.raised(0, asked: 10, got: 10, newest: 40) == 40)  // full: there may be more behind 40
        #expect(floor.raised(0, asked: 10, got: 3, newest: 40) == 1000)  // not full: nothing is left up to 1000
        #expect(floor.raised(0, asked: 10, got: 0, newest: nil) == 1000)
        #expect(floor.raised(0, asked: 10, got: 10, newest: 5000) == 1000)  // beyond what is sealed nothing is proven
        #expect(floor.raised(1200, asked: 10, got: 0, newest: nil) == 1200)  // never falls
    }

    /// A reading of a transaction that writes nothing says nothing of those that began to write before it.
    @Test func aReadingWithoutATransactionNumberFormsNoCandidate() {
        var floor = Floor()
        for step in 0..<10 {
            floor.observed(horizon(100 + UInt64(step), nil, 50 + Int64(step)))
            #expect(floor.sealed == 0)
        }
        // The first that has one goes with the id of the reading before.
        floor.observed(horizon(110, 120, 70))
        #expect(floor.sealed == 0)
        floor.observed(horizon(120, nil, 80))
        #expect(floor.sealed == 59)
        // Which used the candidate up; none is formed without a number.
        floor.observed(horizon(900, nil, 90))
        #expect(floor.sealed == 59)
    }

    /// Transaction 100 drew id 50 and is open; all others have ended, so that it is both the oldest and the newest.
    @Test func theIdOfALoneOpenPublisherIsNotSealed() {
        var floor = Floor()
        func look() {
            for _ in 0..<5 {
                floor.observed(horizon(100, nil, 50))
                #expect(floor.sealed == 0)
            }
        }
        look()
        floor.observed(horizon(100, 101, 50))  // our own acknowledgement, which comes after it
        look()
        floor.observed(horizon(102, nil, 50))
        #expect(floor.sealed == 50)
    }
}
