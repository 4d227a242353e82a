extension SagaPlan {
    /// For Graphviz (https://graphviz.org/doc/info/lang.html).
    package var dot: String {
        let graph = PlanGraph(self)
        var text = """
            digraph \(dotQuoted(name)) {
                rankdir=TB
                fontname="sans-serif"
                node [shape=box, fontname="sans-serif", fontsize=11]
                edge [fontname="sans-serif", fontsize=10]

            """
        for item in graph.items { text += Self.dot(item, indent: "    ") }
        for edge in graph.edges {
            var attributes: [String] = []
            if let label = edge.label {
                attributes.append("label=\(dotQuoted(wrapped(label, width: 30, mostLines: 3)))")
            }
            switch edge.way {
            case .forward: break
            // The way forward alone decides what is above what.
            case .again: attributes.append("constraint=false")
            case .fails, .back: attributes += ["style=dashed", "constraint=false"]
            }
            text += "    \(edge.from) -> \(edge.to)" + Self.list(attributes) + "\n"
        }
        return text + "}\n"
    }

    private static func dot(_ item: PlanGraph.Item, indent: String) -> String {
        switch item {
        case .node(let node):
            var attributes = ["label=\(dotQuoted(node.lines))"]
            switch node.role {
            case .begin, .done, .aborted: attributes.append("shape=oval")
            case .step: break
            case .choice: attributes.append("shape=hexagon")
            case .meeting: attributes += ["shape=circle", "width=0.15"]
            case .undo: attributes.append("style=dashed")
            }
            if node.isPivot { attributes += ["peripheries=2", "penwidth=2"] }
            return indent + node.name + list(attributes) + "\n"
        case .pair(let step, let undo):
            return dot(.node(step), indent: indent) + dot(.node(undo), indent: indent)
                + "\(indent){ rank=same \(step.name) \(undo.name) }\n"
        case .group(let group):
            return "\(indent)subgraph cluster_\(group.name) {\n\(indent)    label=\(dotQuoted(group.title))\n"
                + group.items.map { dot($0, indent: indent + "    ") }.joined() + "\(indent)}\n"
        }
    }

    private static func list(_ attributes: [String]) -> String {
        attributes.isEmpty ? "" : " [\(attributes.joined(separator: ", "))]"
    }
}

private func dotQuoted(_ text: String) -> String { dotQuoted([text]) }

/// A string of DOT; in a label a backslash begins an escape, so that it is doubled.
private func dotQuoted(_ lines: [String]) -> String {
    "\"" + lines.map { $0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") }.joined(separator: "\\n") + "\""
}
