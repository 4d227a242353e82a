import Primitives

/// IT and facilities, for `onboarding`: accounts, laptops, desks.
struct OfficeService: Sendable {
    /// Whose they are.
    private var accounts: Set<[String]> = []
    private var laptops: Set<String> = []
    private var desks: [String: String] = [:]
    private var nextDesk = 11

    mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
        switch call {
        case "PUT /it/*/accounts/*":
            accounts.insert([call.path[1], call.path[3]])
            return .done(["account": .string("\(call.path[3])@\(call.path[1])")])
        case "DELETE /it/*/accounts/*":
            return accounts.remove([call.path[1], call.path[3]]) == nil ? .gone : .undone
        case "POST /it/laptops":
            guard let employee = call.body["employee"]?.string else { return .malformed }
            laptops.insert(employee)
            return .done(["ordered": true])
        case "POST /it/laptops/returns":
            return laptops.remove(call.body["employee"]?.string ?? "") == nil ? .gone : .undone
        case "POST /facilities/desks":
            guard let employee = call.body["employee"]?.string else { return .malformed }
            defer { nextDesk += 1 }
            desks["4-\(nextDesk)"] = employee
            return .done(["desk": .string("4-\(nextDesk)")])
        case "DELETE /facilities/desks/*":
            return desks.removeValue(forKey: call.path[2]) == nil ? .gone : .undone
        default: return nil
        }
    }
}
