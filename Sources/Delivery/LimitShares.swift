package import Primitives

/// How a limit is divided among the workers that take part in it: by max-min fairness (Bertsekas and Gallager, "Data Networks",
/// section 6.5.2). Nobody gets more than it needs as long as another lacks something, and those who lack get the same.
///
/// Every worker computes it from the same rows, so it must come to the same wherever it is computed.
package enum LimitShares {
    package struct Claim: Sendable, Hashable {
        package let holder: UUID
        /// What it could use now.
        package let need: Int64
        /// What it has.
        package let granted: Int64

        package init(holder: UUID, need: Int64, granted: Int64) {
            self.holder = holder
            self.need = need
            self.granted = granted
        }
    }

    /// What each should have; together exactly the amount, however little is needed, so that whoever is woken can send at once.
    ///
    /// - Parameter turn: a number that grows with time, for a limit whose holders have work of their own: when there is less than
    ///   one for each that needs any, they take turns. Nil where the work is common: then whoever has it keeps it.
    package static func targets(of amount: Int64, among claims: [Claim], turn: Int64? = nil) -> [UUID: Int64] {
        if let turn {
            let busy = claims.filter { $0.need > 0 }.map(\.holder).sorted { $0.precedes($1) }
            if Int64(busy.count) > amount { return taking(turns: turn, amount, busy) }
        }
        // An idle one keeps a little, too.
        let least = max(1, amount / Int64(16 * max(1, claims.count)))
        let inOrder = claims.sorted { one, other in
            let (needs, grants) = ((max(one.need, least), max(other.need, least)), (one.granted, other.granted))
            if needs.0 != needs.1 { return needs.0 < needs.1 }
            // What does not divide goes to those who have it.
            return grants.0 != grants.1 ? grants.0 < grants.1 : one.holder.precedes(other.holder)
        }
        var rest = amount
        var targets: [UUID: Int64] = [:]
        for (index, claim) in inOrder.enumerated() {
            let target = min(max(claim.need, least), rest / Int64(inOrder.count - index))
            targets[claim.holder] = target
            rest -= target
        }
        for (index, claim) in inOrder.enumerated() where rest > 0 {
            let more = rest / Int64(inOrder.count - index)
            targets[claim.holder]! += more
            rest -= more
        }
        return targets
    }

    private static func taking(turns turn: Int64, _ amount: Int64, _ busy: [UUID]) -> [UUID: Int64] {
        var targets: [UUID: Int64] = [:]
        for place in 0..<amount { targets[busy[Int((turn * amount + place) % Int64(busy.count))]] = 1 }
        return targets
    }

    /// What a worker may have now: it shrinks to its target, but for what is in flight, and grows by what the others have left.
    ///
    /// - Parameter inUse: cannot be given away yet.
    package static func grant(
        _ holder: UUID, target: Int64, inUse: Int64, of amount: Int64, among claims: [Claim]
    ) -> Int64 {
        let others = claims.reduce(0) { $1.holder == holder ? $0 : $0 + $1.granted }
        return max(0, min(max(target, inUse), amount - others))
    }
}

extension UUID {
    fileprivate func precedes(_ other: UUID) -> Bool {
        high != other.high ? high < other.high : low < other.low
    }
}
