import Postgres
import Primitives
import TestSupport
import Testing

struct CancellerTests {
    @Test func itCancelsTheRunningStatement() async throws {
        let cancelled = DedicatedThread(name: "sleeper") {
            let connection = try connect()
            let canceller = connection.canceller()
            let pid = connection.backendPID
            let other = DedicatedThread(name: "canceller") {
                let observer = try connect()
                var isAsleep = false
                while !isAsleep {
                    isAsleep = try observer.value(
                        "select exists (select from pg_stat_activity where pid = \(pid) and wait_event = 'PgSleep')")
                }
                try canceller.cancel()
            }
            #expect(try postgresError { try connection.query("select pg_sleep(60)") }.sqlState == .queryCanceled)
            _ = other
            #expect(try connection.value("select 1", as: Int.self) == 1)
        }
        try await cancelled.join()
    }

    @Test func itNeverHitsTheStatementAfterItReturned() throws {
        let connection = try connect()
        let canceller = connection.canceller()
        for n in 0..<100 {
            // The statement before has ended already, as it does when a caller cancels a moment too late.
            #expect(try connection.value("select \(n)", as: Int.self) == n)
            try canceller.cancel()
            #expect(try connection.value("select \(n) from pg_sleep(0.001)", as: Int.self) == n)
        }
    }

    @Test func itOutlivesItsConnection() throws {
        let canceller: Canceller
        do {
            let connection = try connect()
            canceller = connection.canceller()
            try connection.terminate()
        }
        // The server looks for a process that is gone, and says nothing.
        try canceller.cancel()
    }
}
