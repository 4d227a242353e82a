import Primitives

/// Banks of any name, for `transfer`. Each has the accounts 1 to 9, with 1000.00 on each to begin with.
struct BankService: Sendable {
    private struct Account: Hashable {
        let bank: String
        let number: String
    }

    private struct Booking {
        let account: Account
        let amount: Cents
    }

    private var balances: [Account: Cents] = [:]
    /// By bank, kind and reference: `alpine/withdrawals/t-1`.
    private var bookings: [String: Booking] = [:]

    mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
        switch call {
        case "POST /banks/*/withdrawals": book(call, sign: -1)
        case "POST /banks/*/deposits": book(call, sign: 1)
        case "POST /banks/*/withdrawals/*/reversal", "POST /banks/*/deposits/*/reversal": reverse(call)
        default: nil
        }
    }

    private func balance(_ account: Account) -> Cents { balances[account] ?? Cents(1000) }

    private mutating func book(_ call: ServiceCall, sign: Int) -> ServiceAnswer {
        guard let number = call.body["account"]?.string, let reference = call.body["reference"]?.string,
            let amount = call.amount.map({ Cents(count: $0.count * sign) })
        else { return .malformed }
        let account = Account(bank: call.path[1], number: number)
        guard let digit = Int(number), (1...9).contains(digit) else {
            return .refused(422, "no-such-account", "The bank \(account.bank) has no account \(number).")
        }
        guard balance(account) + amount >= .zero else {
            return .refused(422, "insufficient-funds", "On account \(number) there is \(balance(account)).")
        }
        balances[account] = balance(account) + amount
        bookings["\(account.bank)/\(call.path[2])/\(reference)"] = Booking(account: account, amount: amount)
        return .done(["balance": .string("\(balance(account))")])
    }

    private mutating func reverse(_ call: ServiceCall) -> ServiceAnswer {
        guard let booking = bookings.removeValue(forKey: call.path[1...3].joined(separator: "/")) else { return .gone }
        balances[booking.account] = balance(booking.account) - booking.amount
        return .done(["balance": .string("\(balance(booking.account))")])
    }
}
