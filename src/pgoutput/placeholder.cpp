namespace pgcascade {}
