import Primitives
import Sagas
import WorkflowFiles

/// The XML that CI systems read: a suite for each file, a case for each scenario. There is no standard; these are the
/// elements and attributes on which Jenkins, GitLab and GitHub's actions agree (github.com/testmoapp/junitxml).
extension TestReport {
    package var junit: String {
        var xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        let cases = files.map { $0.cases }
        xml += Self.open("testsuites", cases.flatMap(\.self), duration, [("name", "outrider test")])
        for (file, cases) in zip(files, cases) {
            let time = file.results.map(\.duration).reduce(.zero, +)
            xml += "  " + Self.open("testsuite", cases, time, [("name", file.path), ("file", file.path)])
            for testCase in cases { xml += testCase.xml }
            xml += "  </testsuite>\n"
        }
        return xml + "</testsuites>\n"
    }

    private static func open(
        _ element: String, _ cases: [JUnitCase], _ time: Duration, _ attributes: [(String, String)]
    ) -> String {
        let counts = [
            ("tests", "\(cases.count)"), ("failures", "\(cases.count { $0.element == "failure" })"),
            ("errors", "\(cases.count { $0.element == "error" })"), ("skipped", "0"), ("time", time.decimalSeconds),
        ]
        return "<\(element)\((attributes + counts).asXML)>\n"
    }
}

private struct JUnitCase {
    var name: String
    var className: String
    var file: String
    var line: Int
    var time = Duration.zero
    /// `failure` or `error`; nil when it passed.
    var element: String?
    var type = ""
    var message = ""
    var text = ""

    var xml: String {
        let attributes = [
            ("name", name), ("classname", className), ("file", file), ("line", "\(line)"),
            ("time", time.decimalSeconds),
        ]
        guard let element else { return "    <testcase\(attributes.asXML)/>\n" }
        return "    <testcase\(attributes.asXML)>\n"
            + "      <\(element)\([("message", message), ("type", type)].asXML)>\(text.asXML)</\(element)>\n"
            + "    </testcase>\n"
    }
}

extension TestReport.File {
    /// What is wrong with the file itself is a case as well: a report without a failure looks green.
    fileprivate var cases: [JUnitCase] {
        let errors = diagnostics.map { diagnostic in
            JUnitCase(
                name: "\(path):\(diagnostic.position.line):\(diagnostic.position.column)", className: path, file: path,
                line: diagnostic.position.line, element: "error", type: "file", message: diagnostic.message,
                text: diagnostic.description)
        }
        return errors + results.map { $0.testCase(in: path) }
    }
}

extension TestReport.Result {
    fileprivate func testCase(in file: String) -> JUnitCase {
        var testCase = JUnitCase(
            name: scenario.name, className: scenario.program.definition.name, file: file,
            line: scenario.position.line, time: duration)
        switch verdict {
        case .passed: return testCase
        case .broken(let reason):
            testCase.element = "error"
            testCase.type = "broken"
            testCase.message = reason
        case .failed(let differences):
            testCase.element = "failure"
            testCase.type = differences.first?.subject ?? ""
            testCase.message = differences.map { "\($0.subject): \($0.summary)" }.joined(separator: "; ")
        }
        testCase.text = explanation.joined(separator: "\n")
        return testCase
    }
}

extension Duration {
    fileprivate var decimalSeconds: String {
        let (seconds, fraction) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return "\(seconds)." + String(1_000_000 + fraction).dropFirst()
    }
}

extension [(String, String)] {
    fileprivate var asXML: String {
        map { name, value in
            // A reader would make spaces of them.
            " \(name)=\"\(value.asXML.replacing("\n", with: "&#10;").replacing("\t", with: "&#9;"))\""
        }.joined()
    }
}

extension String {
    /// Without the characters that XML 1.0 cannot hold (section 2.2).
    fileprivate var asXML: String {
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            case "\n", "\t": text.unicodeScalars.append(scalar)
            case "\r": text += "&#13;"
            case "\u{FFFE}", "\u{FFFF}", "\u{0}"..<"\u{20}": text += "\u{FFFD}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
