extension SagaPlan {
    package var layout: PlanLayout { LayoutMaker.layout(self) }

    /// A picture for itself: no script, no font or style from elsewhere, readable on light and dark grounds.
    package var svg: String {
        let layout = layout
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(layout.width) \(layout.height)" width="\(layout.width)" \
            height="\(layout.height)" role="img" aria-label="Plan of the saga \(xmlEscaped(name)), version \(version)">
            <style>
            \(Self.style)
            </style>
            <rect class="ground" width="100%" height="100%"/>

            """
        for frame in layout.frames { text += rect(frame, "frame", radius: 10) }
        for bar in layout.bars { text += rect(bar, "bar") }
        text += wires(layout, .forward) + wires(layout, .back)
        for box in layout.boxes { text += self.box(box) }
        return text + "</svg>\n"
    }

    // MARK: - Parts

    private func rect(_ rect: PlanLayout.Rect, _ name: String, radius: Int = 0) -> String {
        let rounded = radius > 0 ? " rx=\"\(radius)\"" : ""
        return
            "<rect class=\"\(name)\" x=\"\(rect.x)\" y=\"\(rect.y)\" width=\"\(rect.width)\" height=\"\(rect.height)\"\(rounded)/>\n"
    }

    private func wires(_ layout: PlanLayout, _ way: PlanLayout.Wire.Way) -> String {
        let name = way == .forward ? "forward" : "back"
        let path = layout.joinedWires.filter { $0.way == way }
            .map { "M\($0.from.x) \($0.from.y)L\($0.to.x) \($0.to.y)" }.joined()
        let tips = layout.tips.filter { $0.way == way }.map { "M\($0.at.x) \($0.at.y)\($0.path)" }.joined()
        return path.isEmpty
            ? "" : "<path class=\"\(name)\" d=\"\(path)\"/>\n<path class=\"\(name) tip\" d=\"\(tips)\"/>\n"
    }

    private func box(_ box: PlanLayout.Box) -> String {
        var text = "<g class=\"\(box.role.style)\">\n"
        if let hint = box.hint { text += "<title>\(xmlEscaped(hint))</title>\n" }
        var isCentred = true
        switch box.role {
        case .begin, .completed, .aborted: text += rect(box.frame, "box", radius: 16)
        case .step, .undo:
            text += rect(box.frame, "box", radius: 6)
            isCentred = false
        case .label: break
        }
        var y = box.frame.y + (box.role == .label ? 0 : LayoutMaker.padding / 2)
        for line in box.lines {
            y += line.style.height
            let x = isCentred ? box.frame.x + box.frame.width / 2 : box.frame.x + LayoutMaker.padding
            text +=
                "<text class=\"\(line.style.rawValue)\(isCentred ? " centred" : "")\" x=\"\(x)\" y=\"\(y - 4)\">\(xmlEscaped(line.text))</text>\n"
        }
        return text + "</g>\n"
    }

    // MARK: - Looks

    private static let style: String = {
        let sizes = PlanLayout.Line.Style.allCases.map { ".\($0.rawValue){font-size:\($0.fontSize)px}" }.joined()
        return """
            text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;fill:#1f2733}
            \(sizes)
            .title{font-weight:bold}.centred{text-anchor:middle}.fine,.label .text{fill:#5b6675}
            .ground{fill:#ffffff}.frame{fill:#64748b;fill-opacity:.07;stroke:#94a3b8;stroke-opacity:.6}
            .box{fill:#ffffff;stroke:#64748b;stroke-width:1.5}.undo .box{stroke-dasharray:5 4;stroke:#b45309}
            .forward{fill:none;stroke:#475569;stroke-width:1.5}.tip.forward{fill:#475569;stroke:none}
            .back{fill:none;stroke:#b45309;stroke-width:1.5;stroke-dasharray:5 4}.tip.back{fill:#b45309;stroke:none}
            .bar{fill:#be123c}.pivot .box{stroke:#be123c;stroke-width:3}.pivot .kind{fill:#be123c}
            .kind{fill:#5b6675}.undo .kind{fill:#b45309}.acts .kind{fill:#1d4ed8}.waits .kind{fill:#7e22ce}
            .acts .box{stroke:#1d4ed8}.waits .box{stroke:#7e22ce}.fails .box,.aborted .box{stroke:#b45309}.completed .box{stroke:#15803d}
            @media (prefers-color-scheme:dark){
            text{fill:#e2e8f0}.fine,.label .text,.kind{fill:#a3b0c2}.ground{fill:#0f172a}.box{fill:#1e293b;stroke:#94a3b8}
            .forward{stroke:#cbd5e1}.tip.forward{fill:#cbd5e1}.back,.undo .box{stroke:#fbbf24}.tip.back{fill:#fbbf24}
            .undo .kind{fill:#fbbf24}.bar{fill:#fb7185}.pivot .box{stroke:#fb7185}.pivot .kind{fill:#fb7185}
            .acts .kind{fill:#93c5fd}.waits .kind{fill:#d8b4fe}.acts .box{stroke:#60a5fa}.waits .box{stroke:#c084fc}
            .fails .box,.aborted .box{stroke:#fbbf24}.completed .box{stroke:#4ade80}
            }
            """
    }()
}

extension PlanLayout.Box.Role {
    fileprivate var style: String {
        switch self {
        case .begin: "begin"
        case .completed: "completed"
        case .aborted: "aborted"
        case .undo: "undo"
        case .label: "label"
        case .step(_, isPivot: true): "pivot"
        case .step(let kind, isPivot: false):
            switch kind {
            case .call, .publish, .run: "acts"
            case .wait, .await, .approve: "waits"
            case .fail: "fails"
            case .parallel, .foreach, .switch, .set: "step"
            }
        }
    }
}

extension PlanLayout.Tip {
    fileprivate var path: String {
        switch direction {
        case .down: "l-5 -8h10z"
        case .up: "l-5 8h10z"
        case .right: "l-8 -5v10z"
        }
    }
}

extension PlanLayout {
    /// Wires that touch or overlap in one line as one, so that dashes go on.
    fileprivate var joinedWires: [Wire] {
        struct Track: Hashable {
            var way: Wire.Way
            var isVertical: Bool
            var at: Int
        }
        var spans: [Track: [(start: Int, end: Int)]] = [:]
        for wire in wires {
            let isVertical = wire.from.x == wire.to.x
            let track = Track(way: wire.way, isVertical: isVertical, at: isVertical ? wire.from.x : wire.from.y)
            let ends = isVertical ? [wire.from.y, wire.to.y] : [wire.from.x, wire.to.x]
            spans[track, default: []].append((min(ends[0], ends[1]), max(ends[0], ends[1])))
        }
        return spans.sorted { ($0.key.isVertical ? 0 : 1, $0.key.at) < ($1.key.isVertical ? 0 : 1, $1.key.at) }
            .flatMap { track, spans in
                var joined: [(start: Int, end: Int)] = []
                for span in spans.sorted(by: { $0.start < $1.start }) {
                    if let last = joined.last, span.start <= last.end {
                        joined[joined.count - 1].end = max(last.end, span.end)
                    } else {
                        joined.append(span)
                    }
                }
                return joined.map { span in
                    // Upward, as the way back goes.
                    track.isVertical
                        ? Wire(
                            way: track.way, from: Point(x: track.at, y: span.end), to: Point(x: track.at, y: span.start)
                        )
                        : Wire(
                            way: track.way, from: Point(x: span.start, y: track.at), to: Point(x: span.end, y: track.at)
                        )
                }
            }
    }
}

private func xmlEscaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        .replacing("\"", with: "&quot;")
}
