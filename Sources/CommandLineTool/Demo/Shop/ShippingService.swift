import Primitives

/// Parcels. Nobody carries a piano.
struct ShippingService: Sendable {
    /// Orders, one for each parcel that left.
    private(set) var parcels: [Int] = []

    mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
        switch call {
        case "POST /shipping/parcels":
            guard let order = call.order else { return .malformed }
            if call.items["piano"] != nil { return .refused(422, "no-carrier", "No carrier takes a piano.") }
            parcels.append(order)
            return .done(["parcel": "p-\(order)"])
        default: return nil
        }
    }
}
