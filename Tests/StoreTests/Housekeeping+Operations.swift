import Store

extension Housekeeping {
    /// What the leading worker does, beat for beat, until no operation is left.
    func carryOutOperations(most: Int) throws {
        while true {
            let open = try openOperations()
            if open.isEmpty { return }
            for operation in open { _ = try stepOperation(operation, most: most) }
        }
    }
}
