import Delivery
import Primitives
import Testing

struct LimitSharesTests {
    private static func holder(_ number: Int) -> UUID { UUID(high: 0, low: UInt64(number)) }

    private static func claims(_ needs: [Int64], granted: [Int64]? = nil) -> [LimitShares.Claim] {
        needs.indices.map {
            LimitShares.Claim(holder: holder($0), need: needs[$0], granted: granted?[$0] ?? 0)
        }
    }

    private static func targets(
        _ amount: Int64, _ needs: [Int64], granted: [Int64]? = nil, turn: Int64? = nil
    ) -> [Int64] {
        let targets = LimitShares.targets(of: amount, among: claims(needs, granted: granted), turn: turn)
        return needs.indices.map { targets[holder($0)] ?? 0 }
    }

    private static let examples: [(amount: Int64, needs: [Int64], shares: [Int64])] = [
        (64, [100], [64]), (64, [0], [64]), (64, [64, 64], [32, 32]), (64, [0, 0], [32, 32]),
        (3, [3, 3, 3], [1, 1, 1]),
        // Nobody gets more than it needs while another lacks something.
        (64, [4, 64], [4, 60]), (60, [10, 100, 100], [10, 25, 25]), (64, [4, 8], [30, 34]), (64, [0, 64], [2, 62]),
        (1, [0, 2], [0, 1]), (0, [5, 5], [0, 0]),
    ]

    @Test(arguments: examples)
    func sharesAreFair(amount: Int64, needs: [Int64], shares: [Int64]) {
        #expect(Self.targets(amount, needs) == shares)
    }

    @Test func whatDoesNotDivideStaysWhereItIs() {
        #expect(Self.targets(1, [1, 1], granted: [1, 0]) == [1, 0])
        #expect(Self.targets(1, [1, 1], granted: [0, 1]) == [0, 1])
        #expect(Self.targets(5, [5, 5, 5], granted: [1, 2, 2]) == [1, 2, 2])
    }

    @Test func thoseWhoAreTooManyTakeTurns() {
        let turns = (0..<6).map { Self.targets(1, [1, 0, 1, 1], granted: [1, 0, 0, 0], turn: $0) }
        #expect(turns.allSatisfy { $0.reduce(0, +) == 1 && $0[1] == 0 })
        for place in [0, 2, 3] { #expect(turns.count { $0[place] == 1 } == 2) }
        #expect(Self.targets(2, [1, 1], granted: [2, 0], turn: 7) == [1, 1])
    }

    @Test func whatIsInFlightIsNotGivenAway() {
        let claims = Self.claims([64, 64], granted: [64, 0])
        #expect(LimitShares.grant(Self.holder(0), target: 32, inUse: 50, of: 64, among: claims) == 50)
        #expect(LimitShares.grant(Self.holder(0), target: 32, inUse: 5, of: 64, among: claims) == 32)
        #expect(LimitShares.grant(Self.holder(1), target: 32, inUse: 0, of: 64, among: claims) == 0)
    }

    /// Workers come and go, send and finish, each acting on what the rows say at its time.
    @Test(arguments: 0..<40)
    func theSumNeverExceedsTheAmountAndComesToRestAtTheTargets(seed: UInt64) {
        var random = Generator(state: seed)
        let amount = Int64.random(in: 1...50, using: &random)
        var rows: [UUID: (need: Int64, granted: Int64, inUse: Int64)] = [:]
        func claims() -> [LimitShares.Claim] {
            rows.map { LimitShares.Claim(holder: $0.key, need: $0.value.need, granted: $0.value.granted) }
        }
        func negotiate(_ holder: UUID) {
            guard let row = rows[holder] else { return }
            let target = LimitShares.targets(of: amount, among: claims())[holder] ?? 0
            rows[holder]!.granted = LimitShares.grant(
                holder, target: target, inUse: row.inUse, of: amount, among: claims())
            #expect(rows[holder]!.granted >= row.inUse)
            #expect(rows.values.reduce(0) { $0 + $1.granted } <= amount)
        }
        for step in 0..<300 {
            let holder = rows.keys.randomElement(using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: rows[Self.holder(1000 + step)] = (Int64.random(in: 0...60, using: &random), 0, 0)
            case 1: if rows.count > 1, let holder { rows[holder] = nil }
            case 2: if let holder { rows[holder]!.need = Int64.random(in: 0...60, using: &random) }
            case 3...5:
                if let holder { rows[holder]!.inUse = Int64.random(in: 0...rows[holder]!.granted, using: &random) }
            default: if let holder { negotiate(holder) }
            }
        }
        for holder in rows.keys { rows[holder]!.inUse = 0 }
        for _ in 0..<3 { for holder in rows.keys { negotiate(holder) } }
        #expect(rows.isEmpty || rows.values.reduce(0) { $0 + $1.granted } == amount)
        let targets = LimitShares.targets(of: amount, among: claims())
        #expect(rows.allSatisfy { $0.value.granted == targets[$0.key] })
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
