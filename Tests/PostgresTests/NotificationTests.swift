import Postgres
import Primitives
import TestSupport
import Testing

struct NotificationTests {
    @Test func aNotificationEndsTheWait() async throws {
        let listener = DedicatedThread(name: "listener") {
            let connection = try connect()
            try connection.listen("greetings_1")
            let notifier = DedicatedThread(name: "notifier") {
                try connect().query("select pg_notify('greetings_1', 'hello')")
            }
            var received: [Notification] = []
            while received.isEmpty { received = try connection.wait(timeout: .seconds(20)) }
            #expect(received.map { [$0.channel, $0.payload] } == [["greetings_1", "hello"]])
            #expect(try connection.wait(timeout: .zero).isEmpty)
            _ = notifier
        }
        try await listener.join()
    }

    @Test func notificationsThatCameWithAStatementAreNotWaitedFor() throws {
        let connection = try connect()
        try connection.listen("greetings_2")
        try connection.query("select pg_notify('greetings_2', n::text) from generate_series(1, 3) n")
        #expect(try connection.wait(timeout: nil).map(\.payload) == ["1", "2", "3"])
        try connection.query("select pg_notify('greetings_2', 'again')")
        #expect(connection.takeNotifications().map(\.payload) == ["again"])
        #expect(connection.takeNotifications().isEmpty)
    }

    @Test func theTimeEndsTheWaitToo() throws {
        let connection = try connect()
        try connection.listen("greetings_3")
        let began = ContinuousClock.now
        #expect(try connection.wait(timeout: .milliseconds(50)).isEmpty)
        #expect(ContinuousClock.now - began >= .milliseconds(50))
    }

    @Test func aWakeupEndsTheWaitOfAThread() async throws {
        let wakeup = Wakeup()
        let waiter = DedicatedThread(name: "waiter") {
            let connection = try connect()
            try connection.listen("greetings_4")
            #expect(try connection.wait(timeout: .seconds(3600), or: wakeup).isEmpty)
        }
        wakeup.signal()
        try await waiter.join()
    }

    @Test func signalsBeforeTheWaitAreOneAndAreNotLost() throws {
        let wakeup = Wakeup()
        let connection = try connect()
        for _ in 0..<3 { wakeup.signal() }
        #expect(try connection.wait(timeout: .seconds(3600), or: wakeup).isEmpty)
        let began = ContinuousClock.now
        #expect(try connection.wait(timeout: .milliseconds(50), or: wakeup).isEmpty)
        #expect(ContinuousClock.now - began >= .milliseconds(50))
        wakeup.signal()
        wakeup.wait(for: .seconds(3600))
    }

    @Test func theEndOfTheSessionEndsTheWait() throws {
        let connection = try connect()
        try connection.listen("greetings_5")
        try connection.terminate()
        let error = try postgresError { while true { _ = try connection.wait(timeout: .seconds(20)) } }
        #expect(error.kind == .connectionLost)
    }

    @Test func theEndOfTheSessionIsSeenWithoutAskingTheServer() async throws {
        let connection = try connect()
        #expect(!connection.hasEnded)
        try connection.listen("greetings_6")
        try connect().query("select pg_notify('greetings_6', 'hello')")
        try await eventually("it has come") {
            #expect(!connection.hasEnded)
            return connection.takeNotifications().map(\.payload) == ["hello"]
        }
        try connection.terminate()
        try await eventually("the end has come") { connection.hasEnded }
        #expect(connection.isLost)
    }
}
