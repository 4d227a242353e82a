import Primitives
import Testing

struct RateTests {
    @Test(arguments: [
        ("100/s", 100.0, 100_000_000), ("20/m", 1.0 / 3, 333_333), ("5/h", 5.0 / 3600, 1388),
        ("1000000/s", 1e6, 1_000_000_000_000),
    ])
    func isSoManyInALengthOfTime(text: String, perSecond: Double, millionths: Int64) throws {
        let rate = try #require(Rate(text: text))
        #expect(abs(rate.perSecond - perSecond) < 1e-9)
        #expect(rate.millionths == millionths)
        #expect(rate.text == text)
    }

    @Test(arguments: [
        "", "5", "/s", "5/", "0/s", "-1/s", "5/d", "5 /s", "1.5/s", "05/s", "5/s/s", "1000001/s", "+5/s", "5/S",
    ])
    func anythingElseIsNone(text: String) {
        #expect(Rate(text: text) == nil)
    }
}
