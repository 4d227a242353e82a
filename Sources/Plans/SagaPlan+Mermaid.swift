extension SagaPlan {
    /// A Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html), as many viewers of Markdown draw it.
    package var mermaid: String {
        let graph = PlanGraph(self)
        var text = "flowchart TD\n"
        // Mermaid draws every edge downward. Outside of the frames the way back makes none of them longer.
        var undos: [PlanGraph.Node] = []
        for item in graph.items { text += Self.mermaid(item, indent: "    ", &undos) }
        for undo in undos { text += Self.mermaid(undo, indent: "    ") }
        for edge in graph.edges {
            let arrow =
                switch edge.way {
                case .forward, .again: "-->"
                case .fails, .back: "-.->"
                }
            let label = edge.label.map { "|\"\(mermaidEscaped($0))\"|" } ?? ""
            text += "    \(edge.from) \(arrow)\(label) \(edge.to)\n"
        }
        text += "    classDef undo stroke-dasharray: 5 4\n    classDef pivot stroke-width: 4px\n"
        return text
    }

    private static func mermaid(_ item: PlanGraph.Item, indent: String, _ undos: inout [PlanGraph.Node]) -> String {
        switch item {
        case .node(let node): return mermaid(node, indent: indent)
        case .pair(let step, let undo):
            undos.append(undo)
            return mermaid(step, indent: indent)
        case .group(let group):
            var text = "\(indent)subgraph \(group.name)[\"\(mermaidEscaped(group.title))\"]\n"
            for inner in group.items { text += mermaid(inner, indent: indent + "    ", &undos) }
            return text + "\(indent)end\n"
        }
    }

    private static func mermaid(_ node: PlanGraph.Node, indent: String) -> String {
        let label = "\"\(node.lines.map(mermaidEscaped).joined(separator: "<br/>"))\""
        let shape =
            switch node.role {
            case .begin, .done, .aborted: "([\(label)])"
            case .step: "[\(label)]"
            case .choice: "{{\(label)}}"
            case .meeting: "((\" \"))"
            case .undo: "[\(label)]:::undo"
            }
        return indent + node.name + shape + (node.isPivot ? ":::pivot" : "") + "\n"
    }
}

/// What means something to Mermaid, or to HTML, as its code (section "Entity codes to escape characters").
private func mermaidEscaped(_ text: String) -> String {
    var escaped = ""
    for character in text {
        switch character {
        case "\"", "#", "<", ">", "&", "`", "\\", ";", "|": escaped += character.asciiValue.map { "#\($0);" } ?? ""
        default: escaped.append(character)
        }
    }
    return escaped
}
