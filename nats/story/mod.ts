// One order's whole story, from the streams alone.
export {
  type EntryJson,
  isTraceUrl,
  type LetterJson,
  type StoryJson,
  type StoryJsonOptions,
  storyJson,
} from "./json.ts";
export { MAX_ENTRIES as MAX_STORY_ENTRIES } from "./read.ts";
export { isTold } from "./says.ts";
export { readStory, type Story, type StoryEntry } from "./story.ts";
