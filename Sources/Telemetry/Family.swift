internal import Synchronization

/// What can be read out as metrics.
protocol Exposable: Sendable {
    var header: FamilyHeader { get }
    func write(into text: inout String)
}

struct FamilyHeader: Sendable {
    let name: String
    let help: String
    let kind: String
    let labels: [String]

    init(name: String, help: String, kind: String, labels: [String]) {
        precondition(Self.isName(name), "\(name) is no name for a metric")
        precondition(
            labels.allSatisfy { Self.isName($0) && !$0.contains(":") && $0 != "le" }, "a label of \(name) is misnamed")
        self.name = name
        self.help = help
        self.kind = kind
        self.labels = labels
    }

    var text: String {
        let escaped = help.escaped { $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : nil }
        return "# HELP \(name) \(escaped)\n# TYPE \(name) \(kind)\n"
    }

    /// `a="1",b="2"`, without braces; empty without labels.
    func pairs(_ values: [String]) -> String {
        precondition(values.count == labels.count, "\(name) has the labels \(labels), not \(values.count)")
        return zip(labels, values)
            .map { label, value in
                let escaped = value.escaped { $0 == "\\" ? "\\\\" : $0 == "\"" ? "\\\"" : $0 == "\n" ? "\\n" : nil }
                return "\(label)=\"\(escaped)\""
            }
            .joined(separator: ",")
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(48...57).contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"): true
            default: false
            }
        }
    }
}

/// A kind of series: one number, or several in the case of a histogram.
package protocol Series: Sendable {
    func write(name: String, labels: String, into text: inout String)
}

/// All series of one name.
package final class Family<Member: Series>: Exposable {
    let header: FamilyHeader
    private let make: @Sendable () -> Member
    private let members = Mutex<[[String]: (labels: String, member: Member)]>([:])

    init(name: String, help: String, kind: String, labels: [String], make: @escaping @Sendable () -> Member) {
        header = FamilyHeader(name: name, help: help, kind: kind, labels: labels)
        self.make = make
        // Without labels there is one series, and it is there from the start: a rate over a counter that only appears with its
        // first event would miss that event.
        if labels.isEmpty { _ = self() }
    }

    /// The series with these label values, made when it is first asked for. To be kept by those that update it often.
    package func callAsFunction(_ values: String...) -> Member {
        members.withLock { members in
            if let known = members[values] { return known.member }
            let member = make()
            members[values] = (header.pairs(values), member)
            return member
        }
    }

    /// Forgets a series, as that of a subscription that was removed.
    package func remove(_ values: String...) {
        members.withLock { _ = $0.removeValue(forKey: values) }
    }

    func write(into text: inout String) {
        let all = members.withLock { Array($0.values) }.sorted { $0.labels < $1.labels }
        if all.isEmpty { return }
        text += header.text
        for (labels, member) in all { member.write(name: header.name, labels: labels, into: &text) }
    }
}

/// Series that exist only while they are read.
struct ComputedFamily: Exposable {
    let header: FamilyHeader
    private let read: @Sendable () -> [(labels: [String], value: Double)]

    init(
        name: String, help: String, kind: String, labels: [String],
        read: @escaping @Sendable () -> [(labels: [String], value: Double)]
    ) {
        header = FamilyHeader(name: name, help: help, kind: kind, labels: labels)
        self.read = read
    }

    func write(into text: inout String) {
        let samples = read()
        if samples.isEmpty { return }
        text += header.text
        for sample in samples {
            writeSample(header.name, header.pairs(sample.labels), metricText(sample.value), into: &text)
        }
    }
}

func writeSample(_ name: String, _ labels: String, _ value: String, into text: inout String) {
    text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
}

/// Whole numbers without a fraction; otherwise the shortest text that reads back as the same number.
func metricText(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
}

extension String {
    /// By scalars: as characters a line break behind `\r`, or a quote with an accent on it, would be others.
    fileprivate func escaped(_ replacement: (Unicode.Scalar) -> String?) -> String {
        var text = ""
        for scalar in unicodeScalars {
            if let replacement = replacement(scalar) { text += replacement } else { text.unicodeScalars.append(scalar) }
        }
        return text
    }
}
