import Delivery
import Plans
import Sagas
import Testing

/// That what is printed is well formed, of sagas of every shape and with names that mean something to the formats.
struct FormatTests {
    @Test(arguments: RandomSaga.seeds)
    func svgIsWellFormedAndSelfContained(seed: UInt64) throws {
        let svg = try RandomSaga.plan(seed: seed).plan.svg
        let elements = try XMLCheck.elements(of: svg)
        #expect(elements.isSubset(of: ["svg", "style", "rect", "path", "g", "title", "text"]), "\(elements)")
        #expect(!svg.contains("@import") && !svg.contains("url("))
    }

    @Test(arguments: RandomSaga.seeds)
    func dotDeclaresWhatItConnects(seed: UInt64) throws {
        let dot = try RandomSaga.plan(seed: seed).plan.dot
        let text = withoutStrings(dot)
        #expect(text.filter { $0 == "{" }.count == text.filter { $0 == "}" }.count)
        let lines = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        let edges = lines.filter { $0.count > 2 && $0[1] == "->" }
        let nodes = lines.filter { $0.count > 1 && $0[1].hasPrefix("[label=") }.map { $0[0] }
        #expect(Set(nodes).count == nodes.count)
        #expect(!edges.isEmpty && edges.allSatisfy { nodes.contains($0[0]) && nodes.contains($0[2]) })
    }

    @Test(arguments: RandomSaga.seeds)
    func mermaidDeclaresWhatItConnects(seed: UInt64) throws {
        let mermaid = try RandomSaga.plan(seed: seed).plan.mermaid
        for line in mermaid.split(separator: "\n") { #expect(line.filter { $0 == "\"" }.count % 2 == 0, "\(line)") }
        let lines = withoutStrings(mermaid).split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(lines.count { $0[0] == "subgraph" } == lines.count { $0 == ["end"] })
        let edges = lines.filter { $0.count > 2 && ($0[1].hasPrefix("-->") || $0[1].hasPrefix("-.->")) }
        let nodes = lines.filter { $0.count == 1 }.compactMap {
            $0[0].split { "[({".contains($0) }.first.map(String.init)
        }
        #expect(!edges.isEmpty && edges.allSatisfy { nodes.contains($0[0]) && nodes.contains($0[2]) })
    }

    @Test(arguments: RandomSaga.seeds)
    func textFitsATerminal(seed: UInt64) throws {
        for line in try RandomSaga.plan(seed: seed).plan.text.split(separator: "\n") {
            // Wide characters take two columns.
            #expect(line.reduce(0) { $0 + ($1.unicodeScalars.first!.value > 0x3000 ? 2 : 1) } <= 100, "\(line)")
            #expect(line.last != " ")
        }
    }

    @Test func controlCharactersNeverReachATerminal() throws {
        var saga = Samples.saga([try Samples.call(.post, "https://a.example", id: "a")])
        saga.about = "one\ntwo\u{1B}[31m\u{202E}three\u{7}"
        let plan = SagaPlan(saga)
        #expect(plan.about == "one two [31mthree")
        for text in [plan.text, plan.mermaid, plan.dot, plan.svg] {
            #expect(!text.unicodeScalars.contains { ($0.value < 0x20 && $0 != "\n") || $0.value == 0x202E })
        }
    }

    @Test func labelsAreEscaped() throws {
        let plan = SagaPlan(Samples.saga([try Samples.call(.get, ###"https://a.example/"\#;<b>|&`"###, id: "end")]))
        #expect(
            plan.mermaid.contains(
                ###"s_end["end<br/>call<br/>GET https://a.example/#34;#92;#35;#59;#60;b#62;#124;#38;#96;"]"###))
        #expect(plan.dot.contains(###"s_end [label="end\ncall\nGET https://a.example/\"\\#;<b>|&`"]"###))
        #expect(plan.svg.contains(###"https://a.example/&quot;\#;&lt;b&gt;|&amp;`"###))
    }

    /// Strings are left as `""`.
    private func withoutStrings(_ text: String) -> String {
        var rest = ""
        var isInside = false
        var isEscaped = false
        for character in text {
            if isInside {
                if character == "\"", !isEscaped { isInside = false }
                isEscaped = character == "\\" && !isEscaped
            } else {
                if character == "\"" { isInside = true }
                if character != "\"" { rest.append(character) }
            }
        }
        return rest
    }
}

/// As much of XML as the pictures use: elements, attributes, text, five entities.
enum XMLCheck {
    struct Malformed: Error {
        let what: String
    }

    /// The names of all elements.
    static func elements(of text: String) throws -> Set<String> {
        var names: Set<String> = []
        var open: [String] = []
        var rest = text[...]
        while let start = rest.firstIndex(of: "<") {
            try checkText(rest[..<start])
            guard let end = rest[start...].firstIndex(of: ">") else { throw Malformed(what: "an unclosed tag") }
            var tag = rest[rest.index(after: start)..<end]
            rest = rest[rest.index(after: end)...]
            if tag.first == "/" {
                guard open.popLast() == String(tag.dropFirst()) else {
                    throw Malformed(what: "</\(tag)> does not match")
                }
                continue
            }
            let isEmpty = tag.last == "/"
            if isEmpty { tag.removeLast() }
            let name = String(tag.prefix { $0 != " " })
            try checkAttributes(tag.dropFirst(name.count))
            names.insert(name)
            if !isEmpty { open.append(name) }
            if open.isEmpty, rest.contains(where: { !$0.isWhitespace }) { throw Malformed(what: "text behind the end") }
        }
        guard open.isEmpty, rest.allSatisfy(\.isWhitespace) else { throw Malformed(what: "unclosed: \(open)") }
        return names
    }

    private static func checkAttributes(_ text: Substring) throws {
        var rest = text
        var names: Set<Substring> = []
        while !rest.isEmpty {
            guard rest.first == " ", let equals = rest.firstIndex(of: "=") else { throw Malformed(what: "\(text)") }
            let name = rest[rest.index(after: rest.startIndex)..<equals]
            rest = rest[rest.index(after: equals)...]
            guard rest.first == "\"", let end = rest.dropFirst().firstIndex(of: "\""), names.insert(name).inserted,
                name.allSatisfy({ $0.isLetter || $0 == "-" })
            else { throw Malformed(what: "\(text)") }
            try checkText(rest.dropFirst()[..<end])
            rest = rest[rest.index(after: end)...]
        }
    }

    private static func checkText(_ text: Substring) throws {
        for part in text.split(separator: "&", omittingEmptySubsequences: false).dropFirst() {
            guard ["amp;", "lt;", "gt;", "quot;", "apos;"].contains(where: part.hasPrefix) else {
                throw Malformed(what: "&\(part)")
            }
        }
    }
}
