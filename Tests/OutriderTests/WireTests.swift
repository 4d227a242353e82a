import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What stands in a request besides the protocol's own headers.
struct WireTests {
    /// libcurl asks for leave to send a large body, and waits a second for it.
    @Test(arguments: [10, 3 << 20])
    func noDeliveryAsksForLeaveToBeSent(size: Int) async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.database.query(
                "select outrider.publish('order.created', to_jsonb(repeat('x', \(Int32(size)))))")
            try await scene.handler.wait(for: 1)
            #expect(scene.handler.received[0].request.body.count == size + 2)
            #expect(scene.handler.received[0].header("expect") == nil)
            _ = worker
        }
    }

    @Test func aPublishersHeaderArrivesAsItIs() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                #"""
                insert into outrider.outbox (topic, payload, headers) values ('order.created', '{}', '{
                    "x-plain": "hello world 5%", "x-quoted": "say \"yes\"", "x-foreign": "käse", "x-broken": "a\r\nx-evil: b"}')
                """#)
            try await scene.handler.wait(for: 1)
            let received = scene.handler.received[0]
            #expect(received.header("x-plain") == "hello world 5%")
            #expect(received.header("x-quoted") == "say \"yes\"")
            // What no header can hold is percent-encoded.
            #expect(received.header("x-foreign") == "k%C3%A4se")
            #expect(received.header("x-broken") == "a%0D%0Ax-evil: b")
            #expect(received.header("x-evil") == nil)
            _ = worker
        }
    }
}
