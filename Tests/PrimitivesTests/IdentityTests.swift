import Primitives
import Testing

struct IdentityTests {
    @Test func uuidsRoundTripAndKeepTheirOrder() throws {
        let text = "01a20cbb-5355-7a85-aebc-e0fb000002e6"
        let uuid = try #require(UUID(text))
        #expect(uuid.description == text)
        #expect(UUID(bytes: uuid.bytes) == uuid)
        #expect(UUID(text.uppercased()) == uuid)
        #expect(UUID("01a20cbb-5355-7a85-aebc-e0fb000002e7")! > uuid)
    }

    @Test(arguments: [
        "", "01a20cbb53557a85aebce0fb000002e6", "01a20cbb-5355-7a85-aebc-e0fb000002eg",
        "01a20cbb-5355-7a85-aebce-0fb000002e6",
    ])
    func refusesWhatIsNoUUID(text: String) {
        #expect(UUID(text) == nil)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64FollowsTheRFCsVectors(plain: String, encoded: String) {
        #expect(base64(plain.utf8) == encoded)
        #expect(base64Decoded(encoded) == Array(plain.utf8))
    }

    @Test(arguments: ["=Zg", "Z", "Zg=g", "Z!"])
    func refusesWhatIsNotBase64(text: String) {
        #expect(base64Decoded(text) == nil)
    }

    @Test func aSecretNeverPrints() {
        let secret = Secret("hunter2")
        #expect("\(secret)" == "[secret]")
        #expect(String(reflecting: secret) == "[secret]")
        #expect(String(reflecting: [secret]).contains("hunter2") == false)
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("hunter2"))
    }

    @Test(arguments: [("retyr", "retry"), ("topic", "topics"), ("subscripton", "subscription")])
    func slipsAreRecognised(slip: String, meant: String) {
        #expect(closest(to: slip, among: ["retry", "topics", "subscription", "timeout"]) == meant)
    }

    @Test func whatResemblesNothingGetsNoSuggestion() {
        #expect(closest(to: "zzzzzz", among: ["retry", "topics"]) == nil)
        #expect(closest(to: "ab", among: ["xy"]) == nil)
    }
}
